// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Fleece.Images.Maps;

namespace Fleece.Images.Qcow2.Mapping;

/// <summary>A slice of an L2 table in memory: neighbouring entries, as they are on disk (big-endian).</summary>
/// <remarks>
/// <para>Threading. Entries are read without a lock and changed only under the metadata lock; everything else is touched
/// under that lock. An entry of one word is read as one; one of two words (extended) is read again when a change came
/// between, which <see cref="_version"/> tells: it is odd while a change runs.</para>
/// <para>Its key is its number on the disk. The object of an evicted slice is filled with another one.</para>
/// <para>An entry that fails validation reads as <see cref="L2Entry.Invalid"/>, so that only requests that touch its
/// cluster fail, and the rest of the slice stays usable.</para>
/// </remarks>
internal sealed class L2Slice(int entryCount, bool isExtended) : ClockEntry
{
    private readonly int _shift = isExtended ? 1 : 0;
    private readonly ulong[] _words = new ulong[isExtended ? entryCount * 2 : entryCount];
    private ulong[]? _asRead;
    private int _version;

    /// <summary>First changed entry; nothing has changed when it is not below <see cref="DirtyEnd"/>.</summary>
    public int DirtyStart = int.MaxValue;

    /// <summary>Behind the last changed entry.</summary>
    public int DirtyEnd;

    /// <summary>What refcounts and this slice contradict each other about; null when they agree. Nothing is changed
    /// through such a slice.</summary>
    public string? RefcountFault;

    /// <summary>The guest cluster of the first entry.</summary>
    public long FirstCluster => Key * entryCount;

    public int Count => entryCount;

    /// <summary>Bytes of an entry: 8, or 16 when it is extended.</summary>
    public int EntryBytes => sizeof(ulong) << _shift;

    /// <summary>The slice's bytes, to be filled from the file between <see cref="BeginSlice"/> and
    /// <see cref="ClockEntry.EndFilling"/>.</summary>
    public Span<byte> Bytes => MemoryMarshal.AsBytes(_words.AsSpan());

    /// <summary>An entry's descriptor.</summary>
    public ulong this[int index] => FromDisk(Volatile.Read(ref _words[index << _shift]));

    /// <summary>Makes an object that no look-up finds any more another slice, clean and without content yet.</summary>
    public void BeginSlice(long number)
    {
        BeginFilling(number);
        _asRead = null;
        RefcountFault = null;
    }

    /// <summary>An entry as a whole.</summary>
    public L2Descriptor Read(int index)
    {
        if (!isExtended)
        {
            return new L2Descriptor(this[index], 0);
        }

        while (true)
        {
            int version = Volatile.Read(ref _version);
            ulong entry = Volatile.Read(ref _words[index * 2]);
            ulong subclusters = Volatile.Read(ref _words[(index * 2) + 1]);
            if ((version & 1) == 0 && Volatile.Read(ref _version) == version)
            {
                return new L2Descriptor(FromDisk(entry), FromDisk(subclusters));
            }

            Thread.SpinWait(1);
        }
    }

    public void Set(int index, L2Descriptor descriptor)
    {
        if (isExtended)
        {
            Interlocked.Increment(ref _version);
            Volatile.Write(ref _words[index * 2], FromDisk(descriptor.Entry));
            Volatile.Write(ref _words[(index * 2) + 1], FromDisk(descriptor.Subclusters));
            Interlocked.Increment(ref _version);
        }
        else
        {
            Volatile.Write(ref _words[index], FromDisk(descriptor.Entry));
        }

        DirtyStart = Math.Min(DirtyStart, index);
        DirtyEnd = Math.Max(DirtyEnd, index + 1);
    }

    public override void MarkClean()
    {
        base.MarkClean();
        DirtyStart = int.MaxValue;
        DirtyEnd = 0;
    }

    /// <summary>Entries from an index on that are 0, that is, unallocated.</summary>
    public int CountUnallocated(int start, int most)
    {
        ReadOnlySpan<ulong> words = _words.AsSpan(start << _shift, most << _shift);
        int found = words.IndexOfAnyExcept(0UL);
        return found < 0 ? most : found >> _shift;
    }

    /// <summary>Hides an entry that failed validation; its bits are kept for writing back.</summary>
    public void Hide(int index)
    {
        _asRead ??= (ulong[])_words.Clone();
        _words[index << _shift] = FromDisk(L2Entry.Invalid);
    }

    /// <summary>Copies the bytes of the changed entries for writing.</summary>
    public void CopyDirty(Span<byte> target)
    {
        Span<ulong> words = MemoryMarshal.Cast<byte, ulong>(target);
        int start = DirtyStart << _shift;
        _words.AsSpan(start, (DirtyEnd - DirtyStart) << _shift).CopyTo(words);
        if (_asRead is null)
        {
            return;
        }

        for (int i = 0; i < words.Length; i += 1 << _shift)
        {
            words[i] = FromDisk(words[i]) == L2Entry.Invalid ? _asRead[start + i] : words[i];
        }
    }

    private static ulong FromDisk(ulong value) =>
        BitConverter.IsLittleEndian ? BinaryPrimitives.ReverseEndianness(value) : value;
}
