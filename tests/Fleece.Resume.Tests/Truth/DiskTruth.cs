// SPDX-License-Identifier: MIT
using Fleece.Disks.Records;

namespace Fleece.Resuming.Tests.Truth;

/// <summary>Each sector of a disk as its guests know it, with the bitmaps and sessions that follow it.</summary>
/// <remarks>
/// <para>A sector has one value, or two while a change is in flight or was in flight when the host was killed. No two changes of a sector
/// run at once, so that a third value is always a finding.</para>
/// <para>Threading. Members take <see cref="Lock"/>; callers who look at more than one hold it.</para>
/// </remarks>
internal sealed class DiskTruth(string name, int sectorCount)
{
    private readonly ulong[] _other = new ulong[sectorCount];
    private readonly bool[] _isOpen = new bool[sectorCount];
    private readonly bool[] _isBusy = new bool[sectorCount];
    private readonly long[] _beganAt = new long[sectorCount];
    private long _clock;

    /// <summary>Held while more than one thing is looked at.</summary>
    public Lock Lock { get; } = new();

    /// <summary>The disk's name.</summary>
    public string Name => name;

    /// <summary>Sectors of the disk.</summary>
    public int SectorCount => sectorCount;

    /// <summary>The values that were acknowledged.</summary>
    public ulong[] Now { get; } = new ulong[sectorCount];

    /// <summary>Bitmaps with a name.</summary>
    public List<BitmapTruth> Bitmaps { get; } = [];

    /// <summary>Sessions that run, or may.</summary>
    public List<SessionTruth> Sessions { get; } = [];

    /// <summary>The moment before the next change.</summary>
    public long Tick()
    {
        lock (Lock)
        {
            return ++_clock;
        }
    }

    /// <summary>Begins a change, unless one of its sectors is being changed or has two values.</summary>
    public bool TryBegin(int first, int count, ulong write)
    {
        lock (Lock)
        {
            if (_isBusy.AsSpan(first, count).Contains(true) || _isOpen.AsSpan(first, count).Contains(true))
            {
                return false;
            }

            long beganAt = ++_clock;
            for (int sector = first; sector < first + count; sector++)
            {
                _isBusy[sector] = _isOpen[sector] = true;
                _beganAt[sector] = beganAt;
                _other[sector] = Sectors.ValueOf(write, sector);
            }

            foreach (SessionTruth session in Sessions.Where(session => session.IsStarting))
            {
                for (int sector = first; sector < first + count; sector++)
                {
                    session.Doubt(sector, _other[sector]);
                }
            }

            MarkMay(first, count);
            return true;
        }
    }

    /// <summary>Keeps changes away from sectors while they are read.</summary>
    public bool TryHold(int first, int count)
    {
        lock (Lock)
        {
            if (_isBusy.AsSpan(first, count).Contains(true))
            {
                return false;
            }

            _isBusy.AsSpan(first, count).Fill(true);
            return true;
        }
    }

    /// <summary>Ends <see cref="TryHold"/>, or a change of which nothing was heard: its sectors keep two values.</summary>
    public void Release(int first, int count)
    {
        lock (Lock)
        {
            _isBusy.AsSpan(first, count).Clear();
        }
    }

    /// <summary>A change was acknowledged.</summary>
    public void Complete(int first, int count)
    {
        lock (Lock)
        {
            for (int sector = first; sector < first + count; sector++)
            {
                Settle(sector, _other[sector]);
            }

            _isBusy.AsSpan(first, count).Clear();
        }
    }

    /// <summary>Sectors were read: each has one of its values, and from now on that one.</summary>
    /// <exception cref="Finding">One has none of them.</exception>
    public void Check(int first, ReadOnlySpan<byte> data, string when)
    {
        lock (Lock)
        {
            for (int i = 0; i < data.Length / Sectors.SizeBytes; i++)
            {
                int sector = first + i;
                ulong value = Sectors.Read(data, i);
                if (value != Now[sector] && !(_isOpen[sector] && value == _other[sector]))
                {
                    throw new Finding(
                        $"{when}: sector {sector} of the disk '{name}' has {Sectors.Describe(value)}; it must have " +
                        Sectors.Describe(Now[sector]) + (_isOpen[sector] ? $" or {Sectors.Describe(_other[sector])}" : string.Empty) +
                        $". {CountWrong(first, data)} sectors of the {data.Length / Sectors.SizeBytes} that were read are wrong");
                }

                if (_isOpen[sector])
                {
                    Settle(sector, value);
                }
            }
        }
    }

    /// <summary>The instant of a session is near: sectors that change until <see cref="SessionTruth.Confirm"/> are in doubt.</summary>
    public void BeginStart(SessionTruth session)
    {
        lock (Lock)
        {
            Now.CopyTo(session.Base, 0);
            for (int sector = 0; sector < sectorCount; sector++)
            {
                if (_isOpen[sector])
                {
                    session.Doubt(sector, _other[sector]);
                }
            }

            Sessions.Add(session);
            MarkInFlight(session.Next);
            if (session.Pinned is { } pinned)
            {
                pinned.PinnedBy = session;
            }
        }
    }

    /// <summary>A bitmap is being made: changes that are in flight may be in it.</summary>
    public void BeginRecording(BitmapTruth bitmap)
    {
        lock (Lock)
        {
            MarkInFlight(bitmap.Marks);
            Bitmaps.Add(bitmap);
        }
    }

    /// <summary>A session has begun, as its host says.</summary>
    public void Confirm(SessionTruth session, SessionInfo info)
    {
        lock (Lock)
        {
            session.Confirm(info, ++_clock);
        }
    }

    /// <summary>True where a sector has one value, and not this one.</summary>
    public bool HasChangedFrom(ulong value, int sector) => !_isOpen[sector] && Now[sector] != value;

    /// <summary>A session was not begun, or has ended without success.</summary>
    public void Undo(SessionTruth session)
    {
        lock (Lock)
        {
            Sessions.Remove(session);
            if (session.Pinned is { } pinned)
            {
                pinned.PinnedBy = null;
                pinned.Marks.Add(session.Next!);
                Marks.Add(pinned.Marks.Must, session.Window);
            }
        }
    }

    /// <summary>A session has ended with success: its bitmap counts from its instant.</summary>
    public void Succeed(SessionTruth session)
    {
        lock (Lock)
        {
            Sessions.Remove(session);
            if (session.Next is not { } next)
            {
                return;
            }

            if (session.Pinned is not { } bitmap)
            {
                Bitmaps.Add(bitmap = new BitmapTruth(session.NextName!, next));
            }

            bitmap.PinnedBy = null;
            bitmap.Marks = next;
            bitmap.RecordsFrom = session.ReadyAt;
            bitmap.BaselineId = session.Ranges is null ? session.InstantId : null;
            bitmap.Backup = session.Ranges is null && !session.IsInDoubt ? session.Base : null;
        }
    }

    /// <summary>The units in which the disk is not what a backup holds: the bitmap that counts from it must have them.</summary>
    public void AddDifferences(bool[] must, ulong[] backup) => AddDifferences(must, backup, _ => false);

    /// <summary>The units in which the disk is not what it was at the instant of a session.</summary>
    public void AddDifferences(bool[] must, SessionTruth session) => AddDifferences(must, session.Base, session.IsDoubtful);

    private void AddDifferences(bool[] must, ulong[] before, Func<int, bool> isDoubtful)
    {
        for (int sector = 0; sector < sectorCount; sector++)
        {
            if (before[sector] != Now[sector] && !_isOpen[sector] && !isDoubtful(sector))
            {
                must[sector / Marks.UnitSectors] = true;
            }
        }
    }

    // A value that stays the same may have been written all the same, so only another one says that the change was made.
    private void Settle(int sector, ulong value)
    {
        _isOpen[sector] = false;
        if (value != Now[sector])
        {
            Now[sector] = value;
            MarkMust(sector, _beganAt[sector]);
        }
    }

    private void MarkInFlight(Marks? marks)
    {
        for (int sector = 0; marks is not null && sector < sectorCount; sector++)
        {
            if (_isBusy[sector])
            {
                Marks.Add(marks.May, sector, 1);
            }
        }
    }

    private void MarkMay(int first, int count)
    {
        foreach (BitmapTruth bitmap in Bitmaps.Where(bitmap => bitmap.PinnedBy is not { IsStarting: false }))
        {
            Marks.Add(bitmap.Marks.May, first, count);
        }

        foreach (SessionTruth session in Sessions.Where(session => session.Next is not null))
        {
            Marks.Add(session.Next!.May, first, count);
        }
    }

    private void MarkMust(int sector, long beganAt)
    {
        foreach (BitmapTruth bitmap in Bitmaps)
        {
            if (bitmap.PinnedBy is null && beganAt > bitmap.RecordsFrom)
            {
                Marks.Add(bitmap.Marks.Must, sector, 1);
            }
        }

        foreach (SessionTruth session in Sessions)
        {
            if (session.Next is { } next && !session.IsStarting && beganAt > session.ReadyAt)
            {
                Marks.Add(next.Must, sector, 1);
            }
            else if (session.Pinned is { } pinned && beganAt > pinned.RecordsFrom)
            {
                Marks.Add(session.Window, sector, 1);
            }
        }
    }

    private int CountWrong(int first, ReadOnlySpan<byte> data)
    {
        int wrong = 0;
        for (int i = 0; i < data.Length / Sectors.SizeBytes; i++)
        {
            ulong value = Sectors.Read(data, i);
            wrong += value != Now[first + i] && !(_isOpen[first + i] && value == _other[first + i]) ? 1 : 0;
        }

        return wrong;
    }
}
