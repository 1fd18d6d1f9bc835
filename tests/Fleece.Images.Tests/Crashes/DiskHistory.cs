// SPDX-License-Identifier: MIT
using Fleece.Block;
using Xunit;

namespace Fleece.Images.Tests.Crashes;

/// <summary>The content that a disk may have after a crash: as it was flushed, with any of the later writes, for each sector.</summary>
/// <remarks>
/// A sector is as it was at the last flush, changed by any of the writes since, in their order. A write that begins inside a sector may be
/// carried out in pieces that end inside sectors; where there was one, that holds for each byte by itself. A write with FUA that has
/// completed is never missing. Each byte that was discarded, and not written since, may be zero.
/// </remarks>
internal sealed class DiskHistory
{
    private const int SectorBytes = 512;

    private readonly List<Change> _changes = [];
    private readonly byte[] _flushed;
    private readonly bool[] _flushedMayBeZero;
    private readonly byte[] _now;

    /// <summary>Begins with a disk whose content is durable.</summary>
    public DiskHistory(byte[] content)
    {
        _flushed = content;
        _flushedMayBeZero = new bool[content.Length];
        _now = (byte[])content.Clone();
    }

    /// <summary>A change since the last flush; it is told before the request begins.</summary>
    /// <param name="offsetBytes">Where it begins.</param>
    /// <param name="lengthBytes">Its length.</param>
    /// <param name="data">Its bytes; null for a discard.</param>
    public sealed class Change(long offsetBytes, long lengthBytes, byte[]? data)
    {
        /// <summary>True when no crash takes it any more: its request had FUA and has completed.</summary>
        public bool IsDurable { get; set; }

        public int StartBytes { get; } = (int)offsetBytes;

        public int EndBytes { get; } = (int)(offsetBytes + lengthBytes);

        public byte[]? Data { get; } = data;

        /// <summary>True when it begins at a sector, so that each sector has all of its part or none.</summary>
        public bool IsWholeInSectors => Data is null || StartBytes % SectorBytes == 0;

        public bool Covers(int startBytes, int endBytes) => StartBytes < endBytes && EndBytes > startBytes;
    }

    /// <summary>A write begins; zeros are a write of zeros.</summary>
    public Change Write(long offsetBytes, byte[] data)
    {
        data.CopyTo(_now, offsetBytes);
        return Add(new Change(offsetBytes, data.Length, data));
    }

    /// <summary>A discard begins.</summary>
    public void Discard(BlockRange range) => Add(new Change(range.OffsetBytes, range.LengthBytes, null));

    /// <summary>A flush has completed.</summary>
    public void Flush()
    {
        foreach (Change change in _changes)
        {
            _flushedMayBeZero.AsSpan(change.StartBytes..change.EndBytes).Fill(change.Data is null);
        }

        _now.CopyTo(_flushed, 0);
        _changes.Clear();
    }

    /// <summary>Fails the test unless each sector may have these bytes.</summary>
    public void Check(ReadOnlySpan<byte> actual, string context)
    {
        Assert.Equal(_now.Length, actual.Length);
        for (int at = 0; at < actual.Length; at += SectorBytes)
        {
            ReadOnlySpan<byte> sector = actual.Slice(at, Math.Min(SectorBytes, actual.Length - at));
            if (!sector.SequenceEqual(_now.AsSpan(at, sector.Length)) && !IsPossible(at, sector))
            {
                Assert.Fail(
                    $"The sector at {at} begins with {Convert.ToHexString(sector[..8])} and is neither as it was flushed nor as it was " +
                    $"written since; {context}");
            }
        }
    }

    private bool IsPossible(int at, ReadOnlySpan<byte> actual)
    {
        List<Change> changes = _changes.FindAll(change => change.Covers(at, at + SectorBytes));
        return changes.TrueForAll(change => change.IsWholeInSectors)
            ? IsPossibleState(changes, at, actual)
            : ArePossibleBytes(changes, at, actual);
    }

    private bool ArePossibleBytes(List<Change> changes, int at, ReadOnlySpan<byte> actual)
    {
        for (int i = at; i < at + actual.Length; i++)
        {
            byte value = actual[i - at];
            bool isPossible = value == _flushed[i] || (value == 0 && _flushedMayBeZero[i]);
            foreach (Change change in changes)
            {
                if (change.Covers(i, i + 1))
                {
                    bool isFromHere = value == (change.Data?[i - change.StartBytes] ?? 0);
                    isPossible = isFromHere || (isPossible && !change.IsDurable);
                }
            }

            if (!isPossible)
            {
                return false;
            }
        }

        return true;
    }

    private bool IsPossibleState(List<Change> changes, int at, ReadOnlySpan<byte> actual)
    {
        List<(byte[] Bytes, bool[] MayBeZero)> states =
            [(_flushed[at..(at + actual.Length)], _flushedMayBeZero[at..(at + actual.Length)])];
        foreach (Change change in changes)
        {
            Apply(states, change, at, Math.Max(change.StartBytes, at)..Math.Min(change.EndBytes, at + actual.Length));
        }

        foreach ((byte[] bytes, bool[] mayBeZero) in states)
        {
            int i = 0;
            while (i < actual.Length && (actual[i] == bytes[i] || (actual[i] == 0 && mayBeZero[i])))
            {
                i++;
            }

            if (i == actual.Length)
            {
                return true;
            }
        }

        return false;
    }

    private static void Apply(List<(byte[] Bytes, bool[] MayBeZero)> states, Change change, int at, Range range)
    {
        Range inSector = (range.Start.Value - at)..(range.End.Value - at);
        if (change.Data is not { } data)
        {
            states.ForEach(state => state.MayBeZero.AsSpan(inSector).Fill(true));
            return;
        }

        int count = states.Count;
        for (int i = 0; i < count; i++)
        {
            (byte[] bytes, bool[] mayBeZero) = states[i];
            bytes = (byte[])bytes.Clone();
            mayBeZero = (bool[])mayBeZero.Clone();
            data.AsSpan((range.Start.Value - change.StartBytes)..(range.End.Value - change.StartBytes)).CopyTo(bytes.AsSpan(inSector));
            mayBeZero.AsSpan(inSector).Clear();
            states.Add((bytes, mayBeZero));
        }

        // A write of the whole sector leaves one state, however many there were before.
        bool isWhole = inSector.End.Value - inSector.Start.Value == states[0].Bytes.Length;
        states.RemoveRange(isWhole ? count + 1 : states.Count, isWhole ? count - 1 : 0);
        if (change.IsDurable)
        {
            states.RemoveRange(0, count);
        }
    }

    private Change Add(Change change)
    {
        _changes.Add(change);
        return change;
    }
}
