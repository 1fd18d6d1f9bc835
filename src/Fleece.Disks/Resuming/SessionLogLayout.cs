// SPDX-License-Identifier: MIT
namespace Fleece.Disks.Resuming;

/// <summary>Where everything lies in a log; docs/host.md has it as tables. Numbers are little-endian.</summary>
internal static class SessionLogLayout
{
    /// <summary>"FLSESLOG" in the file's byte order.</summary>
    public const ulong Magic = 0x474F_4C53_4553_4C46;

    /// <summary>The version that is written, and read.</summary>
    public const uint Version = 3;

    /// <summary>The unit in which a log grows.</summary>
    public const int SegmentBytes = 256 * 1024;

    // The head, written once.
    public const int VersionAt = 8;
    public const int ChecksumAt = 12;
    public const int IdAt = 16;
    public const int FileIdAt = 32;
    public const int MapsNumberAt = 48;
    public const int MapsLengthAt = 56;
    public const int MapsDigestAt = 64;
    public const int DescriptionLengthAt = 96;
    public const int DescriptionChecksumAt = 100;
    public const int OwnFileIdAt = 104;
    public const int HeadBytes = 112;

    // A page of sealed words, each of which is one store.
    public const int StateAt = 4096;
    public const int CountAt = 4104;
    public const int BrokenAt = 4112;
    public const int LostAt = 4120;

    // Two slots, of which the state word names the one that counts.
    public const int SlotsAt = 8192;
    public const int SlotStrideBytes = 512;
    public const int SlotBytes = 80;

    public const int BrokenTextAt = 12 * 1024;
    public const int LostTextAt = 20 * 1024;
    public const int TextBytes = 8 * 1024;

    /// <summary>Where the description begins; the first record lies at the next multiple of a page behind it.</summary>
    public const int DescriptionAt = 28 * 1024;

    private const int PageBytes = 4096;

    /// <summary>Where the first record lies.</summary>
    public static int RecordsAt(int descriptionBytes) => (DescriptionAt + descriptionBytes + PageBytes - 1) & -PageBytes;
}
