// SPDX-License-Identifier: MIT
namespace Fleece.Images.Maps;

/// <summary>A piece of an image's tables in memory, as <see cref="ClockCache{T}"/> keeps it.</summary>
/// <remarks>
/// <para>The object of an evicted piece may be filled with another one. Readers without the lock begin with <see cref="IsOf"/>, and believe
/// the piece only if <see cref="IsStill"/> says so afterwards. Where objects are never filled anew, finding one is enough.</para>
/// <para>Threading. <see cref="IsOf"/>, <see cref="IsStill"/> and <see cref="IsReferenced"/> from any thread, the rest under the metadata
/// lock.</para>
/// </remarks>
internal abstract class ClockEntry
{
    private long _key = -1;
    private int _filling;

    /// <summary>The next entry of the same bucket.</summary>
    public ClockEntry? Next;

    /// <summary>Set by every use, cleared by the eviction's clock hand.</summary>
    public bool IsReferenced;

    /// <summary>True while a captured copy is being written; the entry can't be evicted then.</summary>
    public bool IsBeingWritten;

    /// <summary>True while it has changes that no write-back has captured; set by the cache.</summary>
    public bool IsDirty;

    /// <summary>The key that it is found by.</summary>
    public long Key => _key;

    /// <summary>Counts how often the object has been filled; odd while it is. To be read under the lock.</summary>
    public int Filling => _filling;

    /// <summary>True when an entry may not be evicted for a reason of the format's own.</summary>
    public virtual bool IsHeld => false;

    /// <summary>True when this is the entry of a key. Any thread.</summary>
    /// <param name="key">The key.</param>
    /// <param name="filling">To be given to <see cref="IsStill"/>.</param>
    public bool IsOf(long key, out int filling)
    {
        filling = Volatile.Read(ref _filling);
        return (filling & 1) == 0 && Volatile.Read(ref _key) == key;
    }

    /// <summary>True when all that was read since <see cref="IsOf"/> was of the same entry. Any thread.</summary>
    public bool IsStill(int filling)
    {
        Volatile.ReadBarrier();
        return Volatile.Read(ref _filling) == filling;
    }

    /// <summary>Makes an object that no look-up finds any more the entry of another key, clean and without content yet.</summary>
    public void BeginFilling(long key)
    {
        Interlocked.Increment(ref _filling);
        Volatile.Write(ref _key, key);
        IsReferenced = true;
        MarkClean();
    }

    public void EndFilling() => Interlocked.Increment(ref _filling);

    /// <summary>Takes the changes as captured.</summary>
    public virtual void MarkClean() => IsDirty = false;
}
