// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Checking;
using Fleece.Images.Container;
using Fleece.Images.Journal;

namespace Fleece.Images.Chain;

/// <summary>One image format: what <see cref="Image"/> does with files of it.</summary>
/// <remarks>
/// <para>Threading. Drivers have no state; every member is safe from any thread and works on the calling one.</para>
/// <para>Errors are <see cref="BlockException"/>. A file that is only opened or described is never changed, but for a
/// log that must be replayed before the image can be written to.</para>
/// </remarks>
internal interface IImageDriver
{
    /// <summary>The format.</summary>
    ImageFormat Format { get; }

    /// <summary>Brings the notes of a journal into an image; null for a format whose changes are in the file when they are acknowledged.
    /// </summary>
    INoteReplay? Replay => null;

    /// <summary>True when the file's content is of this format, by its magic. <paramref name="head"/> are its first 512 bytes,
    /// padded with zeros.</summary>
    bool Recognizes(IContainerFile file, ReadOnlySpan<byte> head);

    /// <summary>The sizes that the header claims, told before anything is sized by them. No file that the image names is touched.</summary>
    ImageClaims Measure(IContainerFile file);

    /// <summary>Where the image ends on a device that may be longer: the length that its file would have.</summary>
    /// <param name="file">As long as the device.</param>
    /// <param name="limits">The limits of an untrusted image; null for a trusted one.</param>
    /// <returns>The device's end where the metadata does not tell; an offset behind it where the metadata names places that begin
    /// there.</returns>
    /// <exception cref="BlockException">Why the metadata can't be read, as opening says it too; LimitExceeded; read errors.</exception>
    long FindEnd(IContainerFile file, UntrustedLimits? limits);

    /// <summary>Opens the image as a disk. The node owns the file from then on; on failure the caller still does.</summary>
    IBlockNode Open(IContainerFile file, ImageOpenOptions options, ImageChain chain);

    /// <summary>Opens the image as the parent of another, read-only and with its own parents. Ownership as in
    /// <see cref="Open"/>.</summary>
    IImageLayer OpenLayer(IContainerFile file, ImageOpenOptions options, ImageChain chain);

    /// <summary>Adds what the format says to what the file system says. Files that the image names are told and
    /// not opened; outside the image's folder they are not even looked at.</summary>
    ImageInfo Describe(IContainerFile file, ImageInfo info);

    /// <summary>Writes a new image into an empty file, and makes it durable.</summary>
    /// <param name="file">Empty.</param>
    /// <param name="options">Checked as far as all formats agree: the size is there, positive and a multiple of 512.</param>
    /// <param name="parent">The parent, open; null without one.</param>
    void Create(IContainerFile file, ImageCreateOptions options, ParentImage? parent);

    /// <summary>
    /// Makes the image, durably, the one that the children of another one take for their parent, as far as the format has more for that
    /// than the file's name. Killed at any instant it leaves an image that opens, under one of the two identities; doing it again
    /// completes it.
    /// </summary>
    /// <param name="file">The image; nothing else of it changes, its own parent neither.</param>
    /// <param name="other">The other one, of the same format.</param>
    void TakeOverIdentity(IContainerFile file, IContainerFile other);

    /// <summary>Examines the metadata, and repairs what was asked for. The content is not judged.</summary>
    ImageReport Check(IContainerFile file, ImageRepair repair, CancellationToken cancellationToken);
}
