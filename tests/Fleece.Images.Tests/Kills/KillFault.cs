// SPDX-License-Identifier: MIT
using Fleece.Images.Container;
using Fleece.Images.Journal;

namespace Fleece.Images.Tests.Kills;

/// <summary>A journal that does not do what it says, for a run that must find it.</summary>
/// <param name="Name">Unique; test runners show it.</param>
/// <param name="Row">The name of the row it is planted in.</param>
internal sealed record KillFault(string Name, string Row)
{
    /// <summary>True for a note that is left out, by its stage and the content of the image.</summary>
    public Func<byte[], int, long, bool>? LeavesOut { get; init; }

    /// <summary>True to forget the notes of a write-back when it begins.</summary>
    public bool EmptiesEarly { get; init; }

    /// <summary>True to have a replay write the stages in the reverse order.</summary>
    public bool TurnsStages { get; init; }

    /// <summary>True to have a replay flush nothing.</summary>
    public bool SwallowsFlushes { get; init; }

    public override string ToString() => Name;

    /// <summary>The notes as the fault leaves them.</summary>
    public JournalNotes Spoil(JournalNotes notes, byte[] image)
    {
        JournalNotes spoiled = new();
        foreach (NotedBytes generation in notes.Generations.Skip(EmptiesEarly && notes.HasCaptured ? 1 : 0))
        {
            JournalNotes.Collector collector = spoiled.Begin();
            for (int stage = 0; stage < 3; stage++)
            {
                foreach ((long offsetBytes, byte[] bytes) in generation.RunsOf(stage).ToArray())
                {
                    for (int at = 0; at < bytes.Length; at += NotedBytes.CellBytes)
                    {
                        if (LeavesOut?.Invoke(image, stage, offsetBytes + at) != true)
                        {
                            byte kept = (byte)(TurnsStages ? 2 - stage : stage);
                            collector.Add(kept, offsetBytes + at, [BitConverter.ToUInt32(bytes, at), 0]);
                        }
                    }
                }
            }

            collector.End(isCaptured: false);
        }

        return spoiled;
    }
}

/// <summary>A file whose flushes do nothing.</summary>
internal sealed class UnflushedFile(IContainerFile file) : IContainerFile
{
    public string Path => file.Path;

    public bool IsReadOnly => file.IsReadOnly;

    public long MaximumLengthBytes => file.MaximumLengthBytes;

    public long GetLength() => file.GetLength();

    public void Read(long offsetBytes, Span<byte> buffer) => file.Read(offsetBytes, buffer);

    public void ReadAhead(long offsetBytes, long lengthBytes) => file.ReadAhead(offsetBytes, lengthBytes);

    public void Write(long offsetBytes, ReadOnlySpan<byte> data) => file.Write(offsetBytes, data);

    public void Zero(long offsetBytes, long lengthBytes) => file.Zero(offsetBytes, lengthBytes);

    public Block.BlockStatusRun FindExtent(Block.BlockRange range) => file.FindExtent(range);

    public void SetLength(long lengthBytes) => file.SetLength(lengthBytes);

    public void Flush()
    {
    }

    public void Dispose() => file.Dispose();
}
