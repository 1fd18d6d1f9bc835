// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block.CopyBeforeWrite;

namespace Fleece.Disks.Resuming;

/// <summary>A change of the maps, as a record of the log.</summary>
/// <remarks>
/// <code>
/// 0   6   first granule
/// 6   2   the consumer's number; 0 in records of other kinds
/// 8   8   count of granules
/// </code>
/// </remarks>
/// <param name="Kind">What happened.</param>
/// <param name="Run">To which granules.</param>
/// <param name="Consumer">Of <see cref="RecordKind.Confirmed"/>.</param>
internal readonly record struct SessionRecord(SessionRecord.RecordKind Kind, GranuleRun Run, int Consumer = 0)
{
    /// <summary>Most consumers of a session, whose numbers have 16 bits in a record.</summary>
    public const int MaximumConsumers = 4096;

    /// <summary>Bytes of the payload.</summary>
    public const int PayloadBytes = 16;

    private const int StartBits = 48;

    /// <summary>The kinds, as the file has them.</summary>
    internal enum RecordKind : ushort
    {
        /// <summary>No record.</summary>
        None = 0,

        /// <summary>Old data is in temp.</summary>
        Stored = 1,

        /// <summary>Old data was zeros, which temp reads as.</summary>
        DoneAsZeroes = 2,

        /// <summary>Refused to every reader from now on, and confirmed by every consumer.</summary>
        Consumed = 3,

        /// <summary>A consumer is finished with it.</summary>
        Confirmed = 4,
    }

    public void Encode(Span<byte> payload)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(payload, (ulong)Run.Start | (ulong)Consumer << StartBits);
        BinaryPrimitives.WriteInt64LittleEndian(payload[8..], Run.Count);
    }

    /// <summary>Does to the maps what happened.</summary>
    /// <returns>The fault of the record, as a part of a sentence; null when nothing is.</returns>
    public static string? Apply(ushort kind, ReadOnlySpan<byte> payload, PointInTimeMaps maps)
    {
        if (payload.Length != PayloadBytes)
        {
            return $"a record has {payload.Length} bytes";
        }

        ulong word = BinaryPrimitives.ReadUInt64LittleEndian(payload);
        long start = (long)(word & ((1UL << StartBits) - 1));
        int consumer = (int)(word >> StartBits);
        long count = BinaryPrimitives.ReadInt64LittleEndian(payload[8..]);
        GranuleRun run = new(start, start + count);
        if (count < 0 || !maps.Has(run) || consumer >= Math.Max(1, maps.Confirmed.Count))
        {
            return "a record names granules, or a consumer, that the session does not have";
        }

        switch ((RecordKind)kind)
        {
            case RecordKind.Stored or RecordKind.DoneAsZeroes:
                maps.AddDone(run, hasData: kind == (ushort)RecordKind.Stored);
                return null;
            case RecordKind.Consumed:
                maps.AddConsumed(run);
                return null;
            case RecordKind.Confirmed when maps.Confirmed.Count != 0:
                maps.AddConfirmed(consumer, run);
                return null;
            default:
                return $"a record is of the kind {kind}, which this Fleece does not know";
        }
    }
}
