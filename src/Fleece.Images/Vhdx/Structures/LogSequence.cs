// SPDX-License-Identifier: MIT
using Fleece.Images.Container;

namespace Fleece.Images.Vhdx.Structures;

/// <summary>The entries that a log asks to be replayed, oldest first (MS-VHDX section 2.3.2).</summary>
/// <remarks>
/// Entries that follow each other in the ring with consecutive sequence numbers make a sequence; its last entry, the head, says
/// in its tail with which entry the replay begins. The valid sequence with the highest number is the active one. What
/// does not belong to it, torn entries and those of earlier rounds, is ignored.
/// </remarks>
internal sealed class LogSequence
{
    private LogSequence(IReadOnlyList<LogEntry> entries) => Entries = entries;

    public IReadOnlyList<LogEntry> Entries { get; }

    public LogEntry Head => Entries[^1];

    /// <summary>The active sequence; null when the log holds none.</summary>
    /// <exception cref="Fleece.Block.BlockException">Truncated: the file is shorter than the log says it was;
    /// Corrupt.</exception>
    public static LogSequence? Find(IContainerFile file, VhdxHeader header)
    {
        LogRegion log = new(file, header);
        Dictionary<long, LogEntry> entries = [];
        for (long atBytes = 0; atBytes < log.LengthBytes; atBytes += VhdxFormat.PageBytes)
        {
            if (LogEntry.TryRead(log, atBytes, header.LogGuid) is { } entry)
            {
                entries.Add(atBytes, entry);
            }
        }

        Dictionary<long, int> chains = FindChains(log, entries);
        foreach (LogEntry head in entries.Values.OrderByDescending(entry => entry.SequenceNumber))
        {
            bool isHead = Next(log, entries, head) is null
                && chains.TryGetValue(head.TailBytes, out int chain) && chain == chains[head.PositionBytes];
            if (isHead && TryCollect(log, entries, head) is { } sequence)
            {
                sequence.CheckFileLength(file);
                return sequence;
            }
        }

        return null;
    }

    // Which entries follow each other, so that a tail is looked up and not searched for, however many heads a log has.
    private static Dictionary<long, int> FindChains(LogRegion log, Dictionary<long, LogEntry> entries)
    {
        Dictionary<long, int> chains = [];
        foreach (LogEntry first in entries.Values.OrderBy(entry => entry.SequenceNumber))
        {
            int chain = chains.Count;
            for (LogEntry? link = first; link is not null && chains.TryAdd(link.PositionBytes, chain);)
            {
                link = Next(log, entries, link);
            }
        }

        return chains;
    }

    private static LogEntry? Next(LogRegion log, Dictionary<long, LogEntry> entries, LogEntry entry) =>
        entries.GetValueOrDefault((entry.PositionBytes + entry.LengthBytes) % log.LengthBytes) is { } next
        && next.SequenceNumber == entry.SequenceNumber + 1
            ? next
            : null;

    private static LogSequence? TryCollect(LogRegion log, Dictionary<long, LogEntry> entries, LogEntry head)
    {
        List<LogEntry> sequence = [];
        long lengthBytes = 0;
        LogEntry? entry = entries.GetValueOrDefault(head.TailBytes);
        while (entry is not null && entry.SequenceNumber <= head.SequenceNumber)
        {
            sequence.Add(entry);
            lengthBytes += entry.LengthBytes;
            if (ReferenceEquals(entry, head))
            {
                return lengthBytes <= log.LengthBytes ? new LogSequence(sequence) : null;
            }

            entry = Next(log, entries, entry);
        }

        return null;
    }

    private void CheckFileLength(IContainerFile file)
    {
        long fileBytes = file.GetLength();
        foreach (LogEntry entry in Entries)
        {
            if (entry.FlushedFileBytes > fileBytes)
            {
                throw FormatFault.Vhdx.Truncated(
                    file.Path,
                    $"a log entry's flushed_file_offset says the file had {entry.FlushedFileBytes} bytes, it has {fileBytes}");
            }

            if (entry.FlushedFileBytes < 0 || entry.LastFileBytes is < 0 or > VhdxLimits.MaxFileBytes)
            {
                throw FormatFault.Vhdx.Corrupt(
                    file.Path,
                    $"a log entry has flushed_file_offset {entry.FlushedFileBytes} and last_file_offset {entry.LastFileBytes}, which " +
                    "are no lengths of a file",
                    entry.PositionBytes);
            }
        }
    }
}
