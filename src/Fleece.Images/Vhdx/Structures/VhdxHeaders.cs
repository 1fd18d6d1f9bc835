// SPDX-License-Identifier: MIT
using Fleece.Images.Container;

namespace Fleece.Images.Vhdx.Structures;

/// <summary>The two headers: the one with the higher sequence number counts, the other is written next.</summary>
/// <remarks>
/// <para>A change writes the other header, makes it durable, and then writes the first one too (MS-VHDX section 2.2.2.1):
/// a crash leaves one of them whole at any moment, and afterwards both say the same.</para>
/// <para>Threading. One thread at a time.</para>
/// </remarks>
internal sealed class VhdxHeaders
{
    private readonly IContainerFile _file;
    private int _current;

    private VhdxHeaders(IContainerFile file, VhdxHeader header, int current, bool hasDamagedCopy)
    {
        _file = file;
        Current = header;
        _current = current;
        HasDamagedCopy = hasDamagedCopy;
        DamagedOffsetBytes = OtherOffsetBytes;
    }

    public VhdxHeader Current { get; private set; }

    /// <summary>True when only one of the two can be read; the first change writes both.</summary>
    public bool HasDamagedCopy { get; private set; }

    /// <summary>Where the damaged one was when the headers were read.</summary>
    public long DamagedOffsetBytes { get; }

    private long OtherOffsetBytes => VhdxFormat.HeaderOffsetsBytes[1 - _current];

    /// <exception cref="Fleece.Block.BlockException">Corrupt: neither is whole, or they contradict each other.</exception>
    public static VhdxHeaders Read(IContainerFile file)
    {
        VhdxHeader? first = VhdxHeader.TryRead(file, VhdxFormat.HeaderOffsetsBytes[0]);
        VhdxHeader? second = VhdxHeader.TryRead(file, VhdxFormat.HeaderOffsetsBytes[1]);
        if (first is null && second is null)
        {
            throw FormatFault.Vhdx.Corrupt(
                file.Path, "neither of its two headers has the signature 'head' and the right checksum");
        }

        if (first is not null && second is not null && first.SequenceNumber == second.SequenceNumber && first != second)
        {
            throw FormatFault.Vhdx.Corrupt(
                file.Path, $"its two headers have the same sequence_number {first.SequenceNumber} and differ");
        }

        bool isFirst = second is null || (first is not null && first.SequenceNumber >= second.SequenceNumber);
        return new VhdxHeaders(file, isFirst ? first! : second!, isFirst ? 0 : 1, first is null || second is null);
    }

    /// <summary>Makes the change in both headers, durably.</summary>
    public void Update(Func<VhdxHeader, VhdxHeader> change)
    {
        VhdxHeader changed = change(Current);
        WriteOther(changed);
        HasDamagedCopy = false;
        WriteOther(changed);
    }

    /// <summary>Writes the same header again in both places.</summary>
    public void Rewrite() => Update(header => header);

    private void WriteOther(VhdxHeader header)
    {
        header = header with { SequenceNumber = Current.SequenceNumber + 1 };
        header.WriteTo(_file, OtherOffsetBytes);
        _file.Flush();
        _current = 1 - _current;
        Current = header;
    }
}
