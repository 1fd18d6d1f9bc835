// SPDX-License-Identifier: MIT
using System.Globalization;

namespace Fleece.Disks.Resuming;

/// <summary>The maps that a log goes on from: ID.NUMBER.maps.</summary>
/// <param name="Number">1 for the first ones; 0 for none.</param>
/// <param name="LengthBytes">Length of their file.</param>
/// <param name="Digest">SHA-256 of the whole file.</param>
internal sealed record SessionMapsReference(long Number, long LengthBytes, ReadOnlyMemory<byte> Digest)
{
    /// <summary>The end of such a file's name.</summary>
    public const string Extension = ".maps";

    /// <summary>No maps: nothing was denied, and all that happened stands in the records.</summary>
    public static SessionMapsReference None { get; } = new(0, 0, new byte[32]);

    /// <summary>Where the maps of a log lie.</summary>
    public static string PathFor(string logPath, long number) => Path.ChangeExtension(
        logPath, string.Create(CultureInfo.InvariantCulture, $".{number}{Extension}"));
}
