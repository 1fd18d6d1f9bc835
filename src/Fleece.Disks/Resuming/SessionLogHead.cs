// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Block.Logs;
using static Fleece.Disks.Resuming.SessionLogLayout;

namespace Fleece.Disks.Resuming;

/// <summary>Everything in a log but its records.</summary>
internal sealed record SessionLogHead
{
    /// <summary>Of the session.</summary>
    public required Guid Id { get; init; }

    /// <summary>Of this file alone, which seals its records: a compacted log has another one.</summary>
    public required Guid FileId { get; init; }

    /// <summary>The <see cref="Block.Files.FileEvidence.FileId"/> of the file that these bytes were written to; a copy of it has another.
    /// </summary>
    public required ulong OwnFileId { get; init; }

    public required SessionMapsReference Maps { get; init; }

    public required SessionDescription Description { get; init; }

    public required StoredState State { get; init; }

    /// <summary>Which of the slots counts.</summary>
    public required int SlotIndex { get; init; }

    public required SessionSlot Slot { get; init; }

    public BlockException? BrokenBy { get; init; }

    public string? LostReason { get; init; }

    /// <summary>Bytes of the records that count; null where the word is damaged.</summary>
    public long? RecordsBytes { get; init; }

    /// <summary>Where the first record lies.</summary>
    public required int RecordsStartBytes { get; init; }

    /// <summary>Bytes that the head takes with its description, at least: what <see cref="Parse"/> needs.</summary>
    public static int BytesNeeded(ReadOnlySpan<byte> bytes) => bytes.Length < HeadBytes ? DescriptionAt
        : DescriptionAt + (int)Math.Min(
            BinaryPrimitives.ReadUInt32LittleEndian(bytes[DescriptionLengthAt..]), SessionDescriptionFormat.MaximumBytes);

    /// <summary>The part that is written once.</summary>
    public static byte[] Encode(Guid id, Guid fileId, ulong ownFileId, SessionMapsReference maps, ReadOnlySpan<byte> description)
    {
        byte[] bytes = new byte[HeadBytes];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(VersionAt), SessionLogLayout.Version);
        id.TryWriteBytes(bytes.AsSpan(IdAt));
        fileId.TryWriteBytes(bytes.AsSpan(FileIdAt));
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(MapsNumberAt), maps.Number);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(MapsLengthAt), maps.LengthBytes);
        maps.Digest.Span.CopyTo(bytes.AsSpan(MapsDigestAt));
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(OwnFileIdAt), ownFileId);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(DescriptionLengthAt), description.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(DescriptionChecksumAt), Crc32C.Of(description));
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(ChecksumAt), Crc32C.OfSealed(bytes, ChecksumAt));
        return bytes;
    }

    /// <summary>The state word.</summary>
    public static ulong StateWord(StoredState state, int slotIndex) => (ulong)state | (ulong)slotIndex << 8;

    /// <summary>Reads the head.</summary>
    /// <param name="bytes">The file from its beginning, as far as <see cref="BytesNeeded"/> says.</param>
    /// <param name="id">The id that the file's name has.</param>
    /// <param name="fault">What is wrong, as a part of a sentence; null when nothing is.</param>
    /// <param name="isNewer">True for a log of a newer version.</param>
    /// <returns>Null when something is wrong.</returns>
    public static SessionLogHead? Parse(ReadOnlySpan<byte> bytes, Guid id, out string? fault, out bool isNewer)
    {
        isNewer = false;
        if (bytes.Length < DescriptionAt || BinaryPrimitives.ReadUInt64LittleEndian(bytes) != Magic)
        {
            fault = bytes.Length < DescriptionAt ? "it is cut short" : "it does not begin as a log does";
            return null;
        }

        // Before the checksum, whose place another version may have changed.
        uint version = BinaryPrimitives.ReadUInt32LittleEndian(bytes[VersionAt..]);
        if (version != SessionLogLayout.Version)
        {
            isNewer = version > SessionLogLayout.Version;
            fault = isNewer
                ? $"a newer Fleece wrote it, in version {version} of the format, and this one knows version " +
                    $"{SessionLogLayout.Version}"
                : $"its version is {version}, which this Fleece does not know";
            return null;
        }

        uint lengthBytes = BinaryPrimitives.ReadUInt32LittleEndian(bytes[DescriptionLengthAt..]);
        if (BinaryPrimitives.ReadUInt32LittleEndian(bytes[ChecksumAt..]) != Crc32C.OfSealed(bytes[..HeadBytes], ChecksumAt) ||
            lengthBytes > SessionDescriptionFormat.MaximumBytes || lengthBytes > bytes.Length - DescriptionAt)
        {
            fault = "its head is damaged";
            return null;
        }

        ReadOnlySpan<byte> text = bytes.Slice(DescriptionAt, (int)lengthBytes);
        if (BinaryPrimitives.ReadUInt32LittleEndian(bytes[DescriptionChecksumAt..]) != Crc32C.Of(text) ||
            SessionDescriptionFormat.Parse(text) is not { } description)
        {
            fault = "its description is damaged";
            return null;
        }

        Guid ownId = new(bytes.Slice(IdAt, 16));
        if (ownId != id || description.Id != id)
        {
            fault = $"it is the log of another session, {ownId}";
            return null;
        }

        return ParseWords(bytes, description, (int)lengthBytes, out fault);
    }

    private static SessionLogHead? ParseWords(
        ReadOnlySpan<byte> bytes, SessionDescription description, int descriptionBytes, out string? fault)
    {
        if (!TryReadWord(bytes, StateAt, out ulong word) || !Enum.IsDefined((StoredState)(word & 0xFF)) || word >> 8 > 1)
        {
            fault = "its state is damaged";
            return null;
        }

        int slotIndex = (int)(word >> 8);
        if (SessionSlot.Decode(description.Id, bytes[(SlotsAt + slotIndex * SlotStrideBytes)..]) is not { } slot)
        {
            fault = "what it says of the system's run, the instant and its files is damaged";
            return null;
        }

        BlockException? cause = null;
        string? reason = null;
        if (!TryReadText(bytes, BrokenAt, BrokenTextAt, out ReadOnlySpan<byte> text) ||
            (!text.IsEmpty && (cause = SessionTexts.DecodeCause(description.Id, text)) is null) ||
            !TryReadText(bytes, LostAt, LostTextAt, out text) ||
            (!text.IsEmpty && (reason = SessionTexts.DecodeReason(description.Id, text)) is null))
        {
            fault = "the reason why its session broke or is lost is damaged";
            return null;
        }

        fault = null;
        return new SessionLogHead
        {
            Id = description.Id,
            FileId = new Guid(bytes.Slice(FileIdAt, 16)),
            OwnFileId = BinaryPrimitives.ReadUInt64LittleEndian(bytes[OwnFileIdAt..]),
            Maps = new SessionMapsReference(
                BinaryPrimitives.ReadInt64LittleEndian(bytes[MapsNumberAt..]),
                BinaryPrimitives.ReadInt64LittleEndian(bytes[MapsLengthAt..]),
                bytes.Slice(MapsDigestAt, 32).ToArray()),
            Description = description,
            State = (StoredState)(word & 0xFF),
            SlotIndex = slotIndex,
            Slot = slot,
            BrokenBy = cause,
            LostReason = reason,
            RecordsBytes = TryReadWord(bytes, CountAt, out word) ? (long)word : null,
            RecordsStartBytes = RecordsAt(descriptionBytes),
        };
    }

    private static bool TryReadText(ReadOnlySpan<byte> bytes, int wordAt, int textAt, out ReadOnlySpan<byte> text)
    {
        text = default;
        if (!TryReadWord(bytes, wordAt, out ulong lengthBytes) || lengthBytes > TextBytes)
        {
            return false;
        }

        text = bytes.Slice(textAt, (int)lengthBytes);
        return true;
    }

    private static bool TryReadWord(ReadOnlySpan<byte> bytes, int at, out ulong number) =>
        SealedWord.TryDecode((ulong)at, BinaryPrimitives.ReadUInt64LittleEndian(bytes[at..]), out number);
}
