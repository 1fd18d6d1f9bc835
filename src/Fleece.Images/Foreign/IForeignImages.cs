// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;

namespace Fleece.Images.Foreign;

/// <summary>Reads formats that Fleece has no driver for; what an adapter assembly implements, once and in public.</summary>
/// <remarks>
/// <para>Threading. Implementations have no state; every member is safe from any thread and works on the calling one.</para>
/// <para>Errors are <see cref="BlockException"/>, whatever a library beneath throws.</para>
/// </remarks>
internal interface IForeignImages
{
    /// <summary>Opens an image read-only.</summary>
    /// <param name="file">The file a user named, open read-only. On success the image's node owns it; on failure the caller still
    /// does.</param>
    /// <param name="format">The format the file's magic told; never guessed again.</param>
    /// <param name="openNamed">Opens a file that the image names, by its full path, or refuses it; the image's node owns the file. No other
    /// way leads to such a file.</param>
    /// <exception cref="BlockException">Unsupported, Corrupt, Truncated; errors of files the image names.</exception>
    ForeignImage Open(LocalFile file, ImageFormat format, Func<string, LocalFile> openNamed);

    /// <summary>Tells what an image is, without touching any file that it names.</summary>
    /// <param name="file">The file a user named, open read-only; the caller owns it.</param>
    /// <param name="format">The format the file's magic told; never guessed again.</param>
    /// <exception cref="BlockException">Unsupported, Corrupt, Truncated.</exception>
    ForeignDescription Describe(LocalFile file, ImageFormat format);
}
