// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Fleece.Images.Qcow2;

/// <summary>An L2 table in memory: one cluster of entries, as they are on disk (big-endian).</summary>
/// <remarks>
/// <para>Threading. Entries are read without a lock, each as one 64-bit word, and changed only under the metadata lock;
/// everything else is touched under that lock.</para>
/// <para>An entry that fails validation reads as <see cref="L2Entry.Invalid"/>, so that only requests that touch its
/// cluster fail, and the rest of the table stays usable.</para>
/// </remarks>
internal sealed class L2Table(int l1Index, long hostOffsetBytes, int entryCount)
{
    private readonly ulong[] _entries = new ulong[entryCount];
    private ulong[]? _asRead;

    public int L1Index { get; } = l1Index;

    public long HostOffsetBytes { get; } = hostOffsetBytes;

    public int Count => _entries.Length;

    /// <summary>Set by every use, cleared by the eviction's clock hand.</summary>
    public bool IsReferenced;

    /// <summary>True until the L1 table on disk points here.</summary>
    public bool IsNew;

    /// <summary>True while a captured copy is being written; the table can't be evicted then.</summary>
    public bool IsBeingWritten;

    /// <summary>First changed entry; the table is clean when it is not below <see cref="DirtyEnd"/>.</summary>
    public int DirtyStart = int.MaxValue;

    /// <summary>Behind the last changed entry.</summary>
    public int DirtyEnd;

    public bool IsDirty => DirtyStart < DirtyEnd;

    public ulong this[int index] => FromDisk(Volatile.Read(ref _entries[index]));

    public void Set(int index, ulong entry)
    {
        Volatile.Write(ref _entries[index], FromDisk(entry));
        DirtyStart = Math.Min(DirtyStart, index);
        DirtyEnd = Math.Max(DirtyEnd, index + 1);
    }

    public void MarkClean()
    {
        DirtyStart = int.MaxValue;
        DirtyEnd = 0;
    }

    /// <summary>Entries from an index on that are 0, that is, unallocated.</summary>
    public int CountUnallocated(int start, int most)
    {
        ReadOnlySpan<ulong> entries = _entries.AsSpan(start, most);
        int found = entries.IndexOfAnyExcept(0UL);
        return found < 0 ? most : found;
    }

    /// <summary>The table's bytes, to be filled from the file once, before anybody else sees the table.</summary>
    public Span<byte> Bytes => MemoryMarshal.AsBytes(_entries.AsSpan());

    /// <summary>Hides an entry that failed validation; its bits are kept for writing back.</summary>
    public void Hide(int index)
    {
        _asRead ??= (ulong[])_entries.Clone();
        _entries[index] = FromDisk(L2Entry.Invalid);
    }

    /// <summary>Copies the bytes of the changed entries for writing.</summary>
    public void CopyDirty(Span<byte> target)
    {
        Span<ulong> words = MemoryMarshal.Cast<byte, ulong>(target);
        _entries.AsSpan(DirtyStart, DirtyEnd - DirtyStart).CopyTo(words);
        if (_asRead is null)
        {
            return;
        }

        for (int i = 0; i < words.Length; i++)
        {
            words[i] = FromDisk(words[i]) == L2Entry.Invalid ? _asRead[DirtyStart + i] : words[i];
        }
    }

    private static ulong FromDisk(ulong value) =>
        BitConverter.IsLittleEndian ? BinaryPrimitives.ReverseEndianness(value) : value;
}
