// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;

namespace Fleece.Images.Journal;

/// <summary>Why the journal of an image holds or not, as its state word says it.</summary>
internal enum JournalState
{
    /// <summary>It has every change that the image's tables on disk lack.</summary>
    Kept = 1,

    /// <summary>A change could not be noted.</summary>
    GivenUp = 2,

    /// <summary>A flush of the image failed, so the storage may have lost what the notes lead to.</summary>
    FlushFailed = 3,

    /// <summary>The image was closed in order, and has everything. The file is its header alone.</summary>
    Closed = 4,

    /// <summary>As <see cref="Kept"/>, and a replay has begun: any note may be in the image.</summary>
    Replaying = 5,
}

/// <summary>The loss that a journal's maker found when it opened the image, and had not settled yet: sessions and the host are told first.
/// </summary>
internal enum JournalLoss
{
    /// <summary>None, or it is settled.</summary>
    None = 0,

    /// <summary>The journal before did not hold.</summary>
    Lost = 1,

    /// <summary>No journal was there. That is a loss where a process had kept one.</summary>
    Missing = 2,

    /// <summary>The journal before was of an earlier run of the system.</summary>
    LostWithSystem = 3,
}

/// <summary>The file of a journal to the byte; docs/formats/journal.md tells of it too.</summary>
/// <remarks>
/// <code>
///   0  8  "fleecejr"; zeros in a file that its maker did not finish     48 16  boot id
///   8  4  version                                                      128  8  state, a sealed word as all that follow
///  12  4  CRC-32C of the bytes 0 to 11 and 16 to 127                   136  8  sequence number of the first region
///  16  4  format: 1 qcow2, 2 VHD, 3 VHDX                               144  8  bytes of its notes
///  20  4  bytes of a region                                            152  8  sequence number of the second region
///  24  8  file id of the image                                         160  8  bytes of its notes
///  32 16  id of the journal                                            168 16  file_write_guid of a VHDX image
///  64  8  file id of the journal                                       184  4  CRC-32C of the id of the journal and that
///                                                                      192  8  the loss before
/// 4096     the first region, and behind it the second
/// </code>
/// <para>A note, in a region behind the one before:</para>
/// <code>
/// 0   4   CRC-32C of the journal's id, the region's sequence number and the note's offset in it (8 bytes each), and the note from byte
///         4 on
/// 4   2   length, a multiple of 4
/// 6   1   stage
/// 7   1   0
/// 8   8   offset in the image, a multiple of 4
/// 16      the bytes there from now on, and behind them those that were there before
/// </code>
/// <para>A note of the stage 255 has no place: tables were written straight to the image since the region was turned to, so that any value
/// of a note may be there. Numbers are little-endian. A sealed word is <see cref="Block.Logs.SealedWord"/> of its offset.</para>
/// </remarks>
internal static class JournalLayout
{
    public const string Extension = ".fleece-journal";
    public const int Version = 2;
    public const int HeaderBytes = 4096;
    public const int NoteHeaderBytes = 16;

    /// <summary>Longest note; neighbours that change together make one.</summary>
    public const int MaximumNoteBytes = 2048;

    /// <summary>The stage of a note without a place.</summary>
    public const byte MarkStage = 255;

    public const int StateOffsetBytes = 128;
    public const int WitnessOffsetBytes = 168;
    public const int LossOffsetBytes = 192;

    /// <summary>The file of an image that is kept: 2 MiB for each region.</summary>
    public const int FileBytes = 4 * 1024 * 1024;

    /// <summary>"fleecejr".</summary>
    public static readonly ulong Magic = BinaryPrimitives.ReadUInt64LittleEndian("fleecejr"u8);

    private const int IdentityBytes = 128;
    private const int ChecksumField = 12;

    /// <summary>The header up to its numbers, with its checksum.</summary>
    public static byte[] Encode(ImageFormat format, int regionBytes, ulong imageFileId, ulong ownFileId, Guid id, Guid bootId)
    {
        byte[] bytes = new byte[IdentityBytes];
        Span<byte> header = bytes;
        BinaryPrimitives.WriteUInt64LittleEndian(header, Magic);
        BinaryPrimitives.WriteInt32LittleEndian(header[8..], Version);
        BinaryPrimitives.WriteInt32LittleEndian(header[16..], FormatNumber(format));
        BinaryPrimitives.WriteInt32LittleEndian(header[20..], regionBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(header[24..], imageFileId);
        id.TryWriteBytes(header[32..]);
        bootId.TryWriteBytes(header[48..]);
        BinaryPrimitives.WriteUInt64LittleEndian(header[64..], ownFileId);
        BinaryPrimitives.WriteUInt32LittleEndian(header[ChecksumField..], Checksum(header));
        return bytes;
    }

    public static int RegionBytes(int fileBytes) => ((fileBytes - HeaderBytes) / 2) & -8;

    public static int SequenceOffsetBytes(int region) => 136 + (16 * region);

    public static int CountOffsetBytes(int region) => 144 + (16 * region);

    public static int RegionOffsetBytes(int region, int regionBytes) => HeaderBytes + (region * regionBytes);

    /// <summary>The header's checksum.</summary>
    public static uint Checksum(ReadOnlySpan<byte> header) =>
        ~Crc32C.Append(Crc32C.Append(uint.MaxValue, header[..ChecksumField]), header[(ChecksumField + sizeof(uint))..IdentityBytes]);

    /// <summary>The checksum of a note.</summary>
    public static uint Checksum(Guid id, long sequence, long offsetBytes, ReadOnlySpan<byte> note)
    {
        Span<byte> place = stackalloc byte[32];
        id.TryWriteBytes(place);
        BinaryPrimitives.WriteInt64LittleEndian(place[16..], sequence);
        BinaryPrimitives.WriteInt64LittleEndian(place[24..], offsetBytes);
        return ~Crc32C.Append(Crc32C.Append(uint.MaxValue, place), note[sizeof(uint)..]);
    }

    /// <summary>The checksum of the file_write_guid.</summary>
    public static uint Checksum(Guid id, Guid witness)
    {
        Span<byte> bytes = stackalloc byte[32];
        id.TryWriteBytes(bytes);
        witness.TryWriteBytes(bytes[16..]);
        return Crc32C.Of(bytes);
    }

    /// <summary>The number of a format; 0 for one that has no journal.</summary>
    public static int FormatNumber(ImageFormat format) => format switch
    {
        ImageFormat.Qcow2 => 1,
        ImageFormat.Vhd => 2,
        ImageFormat.Vhdx => 3,
        _ => 0,
    };
}
