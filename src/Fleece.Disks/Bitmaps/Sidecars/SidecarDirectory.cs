// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Numerics;
using System.Text;
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;
using Fleece.Block.Files;
using Fleece.Disks.Names;

namespace Fleece.Disks.Bitmaps.Sidecars;

/// <summary>One bitmap as the sidecar's directory has it.</summary>
internal sealed record SidecarEntry
{
    public required string Name { get; init; }

    public required long GranularityBytes { get; init; }

    /// <summary>Where its bits are in the file; meaningless for one that is not trusted.</summary>
    public required long DataOffsetBytes { get; init; }

    /// <summary>What the pages of its area are sealed with.</summary>
    public ulong AreaId { get; init; }

    /// <summary>One checksum over all written pages of its area; 0 while it may change.</summary>
    public uint Digest { get; init; }

    public bool IsEnabled { get; init; }

    /// <summary>Nobody but its session knows it.</summary>
    public bool IsHidden { get; init; }

    /// <summary>The session that began it has not ended.</summary>
    public bool IsPending { get; init; }

    /// <summary>The bitmap that it succeeds, by its place in the directory; -1 for none.</summary>
    public int PredecessorIndex { get; init; } = -1;

    /// <summary>The instant that its bits count from; null for none.</summary>
    public Guid? BaselineId { get; init; }

    /// <summary>Why it can't be trusted; empty when it can.</summary>
    public string Fault { get; init; } = string.Empty;
}

/// <summary>What the sidecar says of its image and of each bitmap; docs/bitmaps.md has the layout as a table.</summary>
internal sealed record SidecarDirectory
{
    /// <summary>Most bitmaps of one disk.</summary>
    public const int MaximumBitmaps = 64;

    /// <summary>Most bytes of an encoded directory: every bitmap with the longest name and a long reason fits.</summary>
    public const int MaximumBytes = 128 * 1024;

    /// <summary>The version that is written.</summary>
    public const uint Version = 3;

    private const ulong Magic = 0x50_41_4D_54_49_42_4C_46; // "FLBITMAP" in the file's byte order
    private const uint VersionWithoutPageChecksums = 1;
    private const uint VersionWithoutParents = 2;
    private const int HeaderBytes = 96;
    private const int FirstHeaderBytes = 88;
    private const int EntryHeaderBytes = 56;
    private const int FirstEntryHeaderBytes = 48;
    private const int ChecksumOffset = 12;
    private const int MaximumFaultBytes = 512;
    private const uint InUseFlag = 1;

    [Flags]
    private enum EntryFlags : uint
    {
        None = 0,
        Enabled = 1,
        Hidden = 2,
        Pending = 4,
        Untrusted = 8,
    }

    /// <summary>Grows with every write; of two valid directories the higher one counts.</summary>
    public long Sequence { get; init; }

    /// <summary>A process has, or had when it ended, the disk mounted for writing.</summary>
    public required bool IsInUse { get; init; }

    /// <summary>The run of the operating system in which it was written.</summary>
    public required Guid BootId { get; init; }

    public required long DiskLengthBytes { get; init; }

    /// <summary>The image when the directory was written; exact only when not in use.</summary>
    public required FileEvidence Image { get; init; }

    /// <summary>The <see cref="Storage.ParentFile.Digest"/> of the files below the image.</summary>
    public ulong ParentsDigest { get; init; }

    public required IReadOnlyList<SidecarEntry> Entries { get; init; }

    public byte[] Encode()
    {
        byte[] bytes = new byte[MaximumBytes];
        Span<byte> span = bytes;
        BinaryPrimitives.WriteUInt64LittleEndian(span, Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(span[8..], Version);
        BinaryPrimitives.WriteInt64LittleEndian(span[16..], Sequence);
        BinaryPrimitives.WriteUInt32LittleEndian(span[28..], IsInUse ? InUseFlag : 0);
        BootId.TryWriteBytes(span[32..]);
        BinaryPrimitives.WriteInt64LittleEndian(span[48..], DiskLengthBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(span[56..], Image.FileId);
        BinaryPrimitives.WriteInt64LittleEndian(span[64..], Image.LengthBytes);
        BinaryPrimitives.WriteInt64LittleEndian(span[72..], Image.ModifiedTicks);
        BinaryPrimitives.WriteInt32LittleEndian(span[80..], Entries.Count);
        BinaryPrimitives.WriteUInt64LittleEndian(span[88..], ParentsDigest);
        int end = HeaderBytes;
        foreach (SidecarEntry entry in Entries)
        {
            end += Encode(entry, span[end..]);
        }

        BinaryPrimitives.WriteInt32LittleEndian(span[24..], end);
        BinaryPrimitives.WriteUInt32LittleEndian(span[ChecksumOffset..], Crc32C.OfSealed(span[..end], ChecksumOffset));
        return bytes[..end];
    }

    /// <summary>Reads the directory that counts.</summary>
    /// <exception cref="BlockException"><see cref="DiskErrors.BitmapStoreUnusable"/></exception>
    public static SidecarDirectory Read(LocalFile file)
    {
        byte[] bytes = new byte[2 * MaximumBytes];
        int readBytes = file.ReadUpTo(0, bytes);
        ReadOnlySpan<byte> first = bytes.AsSpan(0, Math.Min(readBytes, MaximumBytes));
        ReadOnlySpan<byte> second = bytes.AsSpan(first.Length, readBytes - first.Length);
        return (Decode(first), Decode(second)) switch
        {
            (null, null) => throw Unusable(file.Path, Math.Max(VersionOf(first), VersionOf(second))),
            (null, { } only) => only,
            ({ } only, null) => only,
            ({ } left, { } right) => left.Sequence >= right.Sequence ? left : right,
        };
    }

    /// <summary>Reads a directory; null when the bytes are none, or a damaged one.</summary>
    public static SidecarDirectory? Decode(ReadOnlySpan<byte> bytes)
    {
        uint version = VersionOf(bytes);
        if (version is not (Version or VersionWithoutParents or VersionWithoutPageChecksums))
        {
            return null;
        }

        int headerBytes = version == Version ? HeaderBytes : FirstHeaderBytes;
        int lengthBytes = BinaryPrimitives.ReadInt32LittleEndian(bytes[24..]);
        int count = BinaryPrimitives.ReadInt32LittleEndian(bytes[80..]);
        long sequence = BinaryPrimitives.ReadInt64LittleEndian(bytes[16..]);
        uint flags = BinaryPrimitives.ReadUInt32LittleEndian(bytes[28..]);
        if (lengthBytes < headerBytes || lengthBytes > bytes.Length || count is < 0 or > MaximumBitmaps ||
            sequence is < 0 or long.MaxValue || (flags & ~InUseFlag) != 0 ||
            Crc32C.OfSealed(bytes[..lengthBytes], ChecksumOffset) != BinaryPrimitives.ReadUInt32LittleEndian(bytes[ChecksumOffset..]))
        {
            return null;
        }

        List<SidecarEntry> entries = [];
        ReadOnlySpan<byte> rest = bytes[headerBytes..lengthBytes];
        for (int i = 0; i < count; i++)
        {
            if (DecodeEntry(ref rest, count, version) is not { } entry ||
                (!entry.IsHidden && entries.Exists(other => !other.IsHidden && other.Name == entry.Name)))
            {
                return null;
            }

            entries.Add(entry);
        }

        return new SidecarDirectory
        {
            Sequence = sequence,
            IsInUse = (flags & InUseFlag) != 0,
            BootId = new Guid(bytes.Slice(32, 16)),
            DiskLengthBytes = BinaryPrimitives.ReadInt64LittleEndian(bytes[48..]),
            Image = new FileEvidence(
                BinaryPrimitives.ReadUInt64LittleEndian(bytes[56..]),
                BinaryPrimitives.ReadInt64LittleEndian(bytes[64..]),
                BinaryPrimitives.ReadInt64LittleEndian(bytes[72..])),
            ParentsDigest = version == Version ? BinaryPrimitives.ReadUInt64LittleEndian(bytes[88..]) : 0,
            Entries = entries,
        };
    }

    /// <summary>The version that a directory says it has; 0 for what is none.</summary>
    public static uint VersionOf(ReadOnlySpan<byte> bytes) =>
        bytes.Length < FirstHeaderBytes || BinaryPrimitives.ReadUInt64LittleEndian(bytes) != Magic
            ? 0
            : BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]);

    private static BlockException Unusable(string path, uint version) => new(
        DiskErrors.BitmapStoreUnusable,
        version > Version
            ? $"'{path}' has version {version}, which a newer Fleece has written; this one knows versions up to " +
                $"{Version}. Mount the disk with the newer one. Or dismount it, delete the file and mount it again; its " +
                "bitmaps are lost then, so the next backup must be a full one."
            : $"'{path}' is no file of bitmaps, or a damaged one. Dismount the disk, delete the file and mount the disk again; its " +
                "bitmaps are lost, so the next backup must be a full one.",
        path,
        operation: "open");

    private static int Encode(SidecarEntry entry, Span<byte> span)
    {
        int nameBytes = Encoding.UTF8.GetBytes(entry.Name, span[EntryHeaderBytes..]);
        string fault = entry.Fault;
        while (Encoding.UTF8.GetByteCount(fault) > MaximumFaultBytes)
        {
            fault = fault[..(fault.Length / 2)];
        }

        int faultBytes = Encoding.UTF8.GetBytes(fault, span[(EntryHeaderBytes + nameBytes)..]);
        int lengthBytes = (EntryHeaderBytes + nameBytes + faultBytes + 7) & ~7;
        EntryFlags flags = (entry.IsEnabled ? EntryFlags.Enabled : 0) | (entry.IsHidden ? EntryFlags.Hidden : 0) |
            (entry.IsPending ? EntryFlags.Pending : 0) | (entry.Fault.Length != 0 ? EntryFlags.Untrusted : 0);
        BinaryPrimitives.WriteInt32LittleEndian(span, lengthBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(span[4..], (uint)flags);
        BinaryPrimitives.WriteInt32LittleEndian(span[8..], BitOperations.Log2((ulong)entry.GranularityBytes));
        BinaryPrimitives.WriteUInt16LittleEndian(span[12..], (ushort)nameBytes);
        BinaryPrimitives.WriteUInt16LittleEndian(span[14..], (ushort)faultBytes);
        BinaryPrimitives.WriteInt64LittleEndian(span[16..], entry.DataOffsetBytes);
        BinaryPrimitives.WriteInt32LittleEndian(span[24..], entry.PredecessorIndex + 1);
        BinaryPrimitives.WriteUInt32LittleEndian(span[28..], entry.Digest);
        _ = (entry.BaselineId ?? Guid.Empty).TryWriteBytes(span[32..]);
        BinaryPrimitives.WriteUInt64LittleEndian(span[48..], entry.AreaId);
        return lengthBytes;
    }

    private static SidecarEntry? DecodeEntry(ref ReadOnlySpan<byte> rest, int count, uint version)
    {
        int headerBytes = version == VersionWithoutPageChecksums ? FirstEntryHeaderBytes : EntryHeaderBytes;
        if (rest.Length < headerBytes)
        {
            return null;
        }

        int lengthBytes = BinaryPrimitives.ReadInt32LittleEndian(rest);
        EntryFlags flags = (EntryFlags)BinaryPrimitives.ReadUInt32LittleEndian(rest[4..]);
        const EntryFlags Known = EntryFlags.Enabled | EntryFlags.Hidden | EntryFlags.Pending | EntryFlags.Untrusted;
        int granularityBits = BinaryPrimitives.ReadInt32LittleEndian(rest[8..]);
        int nameBytes = BinaryPrimitives.ReadUInt16LittleEndian(rest[12..]);
        int faultBytes = BinaryPrimitives.ReadUInt16LittleEndian(rest[14..]);
        long dataOffsetBytes = BinaryPrimitives.ReadInt64LittleEndian(rest[16..]);
        int predecessor = BinaryPrimitives.ReadInt32LittleEndian(rest[24..]) - 1;
        Guid baselineId = new(rest.Slice(32, 16));
        if (lengthBytes < headerBytes + nameBytes + faultBytes || lengthBytes > rest.Length || (flags & ~Known) != 0 ||
            granularityBits < BitOperations.Log2((ulong)DirtyBitmap.MinimumGranularityBytes) ||
            granularityBits > BitOperations.Log2((ulong)DirtyBitmap.MaximumGranularityBytes) ||
            predecessor < -1 || predecessor >= count || dataOffsetBytes < 0 ||
            !BitmapNames.TryDecode(rest.Slice(headerBytes, nameBytes), out string? name))
        {
            return null;
        }

        string fault = Encoding.UTF8.GetString(rest.Slice(headerBytes + nameBytes, faultBytes));
        if (fault.Length == 0)
        {
            fault = version switch
            {
                Version => "It was marked so.",
                VersionWithoutParents => "An older Fleece kept it, without noting the image's parents.",
                _ => "An older Fleece kept it, without checksums over its bits.",
            };
        }

        bool isUntrusted = (flags & EntryFlags.Untrusted) != 0 || version != Version;
        SidecarEntry entry = new()
        {
            Name = name,
            GranularityBytes = 1L << granularityBits,
            DataOffsetBytes = dataOffsetBytes,
            IsEnabled = (flags & EntryFlags.Enabled) != 0,
            IsHidden = (flags & EntryFlags.Hidden) != 0,
            IsPending = (flags & EntryFlags.Pending) != 0,
            PredecessorIndex = predecessor,
            AreaId = version != VersionWithoutPageChecksums ? BinaryPrimitives.ReadUInt64LittleEndian(rest[FirstEntryHeaderBytes..]) : 0,
            Digest = BinaryPrimitives.ReadUInt32LittleEndian(rest[28..]),
            BaselineId = baselineId == Guid.Empty ? null : baselineId,
            Fault = isUntrusted ? fault : string.Empty,
        };
        rest = rest[lengthBytes..];
        return entry;
    }
}
