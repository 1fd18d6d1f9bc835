// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Fleece.Images.Container;

namespace Fleece.Images.Journal;

/// <summary>The notes that a killed process has left: what its tables were in memory.</summary>
/// <remarks>Threading. Collected by one thread, then immutable.</remarks>
internal sealed class JournalNotes
{
    private const int ChunkBytes = 4096;

    private readonly List<NotedBytes> _generations = [];
    private readonly Dictionary<long, (uint Value, byte Stage)> _all = [];
    private readonly HashSet<(long Cell, uint Value)> _known = [];
    private readonly HashSet<(long Cell, uint Value)> _expected = [];
    private NotedBytes? _allBytes;
    private bool _isMarked;

    /// <summary>The regions that have notes, the one that a write-back had captured first; none when nothing was noted.</summary>
    public IReadOnlyList<NotedBytes> Generations => _generations;

    /// <summary>True when the first of them was captured by a write-back that had not ended.</summary>
    public bool HasCaptured { get; private set; }

    /// <summary>All of them together, with the later ones on top.</summary>
    public NotedBytes All => _allBytes ??= new NotedBytes(_all);

    /// <summary>Begins the notes of a region; an older one comes first.</summary>
    public Collector Begin() => new(this);

    /// <summary>Where the image holds what the killed process can't have left there, as a part of a sentence; null when it does not.
    /// </summary>
    /// <remarks>That is, before the notes: what lay in each place. A write-back that was under way may have put what it had captured there;
    /// and behind a table that was written straight to the image, or within a replay, it is what any note says.</remarks>
    /// <param name="view">The image, with its own log replayed.</param>
    /// <param name="isReplaying">True when a replay has begun.</param>
    public string? FindContradiction(IContainerFile view, bool isReplaying)
    {
        HashSet<(long Cell, uint Value)> possible = _isMarked || isReplaying ? _known : _expected;
        Span<byte> chunk = stackalloc byte[ChunkBytes];
        long chunkOffsetBytes = -1;
        for (int i = 0; i < All.CellCount; i++)
        {
            long offsetBytes = All.CellOffsetBytes(i);
            if (chunkOffsetBytes != offsetBytes / ChunkBytes * ChunkBytes)
            {
                chunkOffsetBytes = offsetBytes / ChunkBytes * ChunkBytes;
                view.Read(chunkOffsetBytes, chunk);
            }

            uint value = MemoryMarshal.Read<uint>(chunk[(int)(offsetBytes - chunkOffsetBytes)..]);
            if (!possible.Contains((offsetBytes, value)))
            {
                return $"another program has changed the image since: its table at offset {offsetBytes} is not what it was";
            }
        }

        return null;
    }

    /// <summary>Takes the notes of one region.</summary>
    internal sealed class Collector(JournalNotes notes)
    {
        private readonly Dictionary<long, (uint Value, byte Stage)> _cells = [];

        /// <summary>Takes one note.</summary>
        /// <param name="stage">Its stage.</param>
        /// <param name="offsetBytes">Its place.</param>
        /// <param name="words">The cells from now on, and behind them as many as they were.</param>
        public void Add(byte stage, long offsetBytes, ReadOnlySpan<uint> words)
        {
            if (stage == JournalLayout.MarkStage)
            {
                notes._isMarked = true;
                return;
            }

            int count = words.Length / 2;
            for (int i = 0; i < count; i++)
            {
                long cell = offsetBytes + (i * NotedBytes.CellBytes);
                if (!notes._all.ContainsKey(cell))
                {
                    notes._known.Add((cell, words[count + i]));
                    notes._expected.Add((cell, words[count + i]));
                }

                notes._known.Add((cell, words[i]));
                _cells[cell] = notes._all[cell] = (words[i], stage);
            }
        }

        /// <summary>Ends the region.</summary>
        /// <param name="isCaptured">True when a write-back had captured it, so that its values may be in the image.</param>
        public void End(bool isCaptured)
        {
            if (_cells.Count == 0)
            {
                return;
            }

            notes._generations.Add(new NotedBytes(_cells));
            notes.HasCaptured |= isCaptured;
            foreach ((long cell, (uint value, _)) in _cells)
            {
                if (isCaptured)
                {
                    notes._expected.Add((cell, value));
                }
            }
        }
    }
}
