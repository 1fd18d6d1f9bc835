// SPDX-License-Identifier: MIT
using Fleece.Disks.Records;

namespace Fleece.Resuming.Tests.Truth;

/// <summary>The instant of a session as the guests of its disk know it, and who has consumed which clusters.</summary>
/// <remarks>Threading. Under the <see cref="DiskTruth.Lock"/> of its disk.</remarks>
internal sealed class SessionTruth
{
    private readonly Dictionary<int, List<ulong>> _doubts = [];

    public SessionTruth(DiskTruth disk, string name, BitmapTruth? pinned, string? nextName, IReadOnlyList<string> consumers)
    {
        Disk = disk;
        Name = name;
        Pinned = pinned;
        NextName = nextName;
        Base = new ulong[disk.SectorCount];
        Next = pinned is null && nextName is null ? null : new Marks(disk.SectorCount);
        Window = new bool[Next?.Must.Length ?? 0];
        Consumers = [.. (consumers.Count == 0 ? [string.Empty] : consumers).Select(consumer => new ConsumerTruth(consumer, disk))];
    }

    public DiskTruth Disk { get; }

    public string Name { get; }

    /// <summary>"DISK/NAME".</summary>
    public string Id => $"{Disk.Name}/{Name}";

    /// <summary>The instant; empty until the host has named it.</summary>
    public Guid InstantId { get; private set; }

    /// <summary>The sessions of the same start, this one too: all of them are there, or none.</summary>
    public IReadOnlyList<SessionTruth> Start { get; set; } = [];

    /// <summary>True until it is known that the session runs.</summary>
    public bool IsStarting { get; private set; } = true;

    /// <summary>How the session is being ended; null while it is not.</summary>
    public bool? EndsWithSuccess { get; set; }

    /// <summary>True for a session of a job, which ends with its host.</summary>
    public bool IsJob { get; init; }

    /// <summary>True when its host says that it outlives it.</summary>
    public bool CanResume { get; private set; }

    /// <summary>True where full storage or a limit may break the session.</summary>
    public bool MayBreak { get; init; }

    /// <summary>True once the host has said that the session is broken.</summary>
    public bool IsBroken { get; set; }

    /// <summary>True once the host has said that it could not bring the session back.</summary>
    public bool IsLost { get; set; }

    /// <summary>The temp image that the host names.</summary>
    public string? TempPath { get; private set; }

    /// <summary>True while its snapshot is there for readers, as far as is known.</summary>
    public bool CanBeRead => !IsStarting && !IsBroken && !IsLost;

    /// <summary>Writes that began later came after the instant.</summary>
    public long ReadyAt { get; private set; }

    /// <summary>The bitmap that the session has pinned; null for none.</summary>
    public BitmapTruth? Pinned { get; }

    /// <summary>The name of the bitmap that records from the instant on; null for none and for a hidden one.</summary>
    public string? NextName { get; }

    /// <summary>The record since the instant; null where nothing is.</summary>
    public Marks? Next { get; }

    /// <summary>Units that changed about the instant, by requests that began once the pinned bitmap recorded: in it or in its successor.
    /// </summary>
    public bool[] Window { get; }

    /// <summary>The disk at the instant, but for sectors in doubt.</summary>
    public ulong[] Base { get; }

    /// <summary>The sectors that can be read, where they are not all; null for all.</summary>
    public Marks? Limits { get; private set; }

    /// <summary>Ranges of sectors that the session was limited to, of whole clusters; null for none.</summary>
    public (int First, int Count)[]? Ranges { get; init; }

    /// <summary>Its consumers; one without a name where it counts none.</summary>
    public IReadOnlyList<ConsumerTruth> Consumers { get; }

    /// <summary>True when sectors have several values still.</summary>
    public bool IsInDoubt => _doubts.Count != 0;

    /// <summary>True where a sector has several values still.</summary>
    public bool IsDoubtful(int sector) => _doubts.ContainsKey(sector);

    /// <summary>True where the disk at the instant is not what the backup holds that the session's bitmap counts from.</summary>
    public bool DiffersFromBackup(int unit)
    {
        int first = unit * Marks.UnitSectors;
        int count = Math.Min(Marks.UnitSectors, Base.Length - first);
        return Pinned is { BaselineId: not null, Backup: { } backup } && !_doubts.Keys.Any(sector => sector / Marks.UnitSectors == unit) &&
            !backup.AsSpan(first, count).SequenceEqual(Base.AsSpan(first, count));
    }

    /// <summary>Sectors that have several values still.</summary>
    public int[] Doubtful => [.. _doubts.Keys];

    /// <summary>A sector may have had another value at the instant as well.</summary>
    public void Doubt(int sector, ulong value)
    {
        if (!_doubts.TryGetValue(sector, out List<ulong>? values))
        {
            _doubts[sector] = values = [Base[sector]];
        }

        values.Add(value);
    }

    /// <summary>The session runs.</summary>
    public void Confirm(SessionInfo info, long readyAt)
    {
        InstantId = info.InstantId;
        TempPath = info.TempPath;
        CanResume = info.CanResume;
        if (IsStarting)
        {
            IsStarting = false;
            ReadyAt = readyAt;
            Limits = Pinned is { BaselineId: not null } ? Pinned.Marks.Copy() : Ranges is null ? null : MarksOf(Ranges);
        }
    }

    /// <summary>A sector of the snapshot was read.</summary>
    /// <exception cref="Finding">It is not what the disk had at the instant.</exception>
    public void Check(int sector, ulong value, string when)
    {
        if (_doubts.TryGetValue(sector, out List<ulong>? values) && values.Contains(value))
        {
            _doubts.Remove(sector);
            Base[sector] = value;
        }
        else if (value != Base[sector])
        {
            string others = values is null ? string.Empty : string.Concat(values.Skip(1).Select(other => $" or {Sectors.Describe(other)}"));
            throw new Finding(
                $"{when}: sector {sector} of the snapshot '{Id}' has {Sectors.Describe(value)}; at the instant it was " +
                $"{Sectors.Describe(Base[sector])}{others}");
        }
    }

    /// <summary>The state in words, for a message.</summary>
    public string Describe() =>
        $"{Id} (bitmap {Pinned?.Name ?? "-"}, next {NextName ?? "-"}, consumers {Consumers.Count(consumer => consumer.Name.Length != 0)}" +
        $"{(Ranges is null ? "" : ", ranges")}{(MayBreak ? ", may break" : "")})";

    private Marks MarksOf((int First, int Count)[] ranges)
    {
        Marks marks = new(Disk.SectorCount);
        foreach ((int first, int count) in ranges)
        {
            Marks.Add(marks.Must, first, count);
            Marks.Add(marks.May, first, count);
        }

        return marks;
    }
}

/// <summary>How far a consumer has come with a cluster.</summary>
internal enum Consumed
{
    No,

    /// <summary>The discard was in flight when the host was killed.</summary>
    Maybe,

    Yes,
}

/// <summary>A consumer of a session; without a name, any reader of a session that counts none.</summary>
internal sealed class ConsumerTruth(string name, DiskTruth disk)
{
    public string Name => name;

    /// <summary>The state of each cluster of <see cref="Marks.UnitBytes"/>.</summary>
    public Consumed[] Clusters { get; } = new Consumed[(disk.SectorCount + Marks.UnitSectors - 1) / Marks.UnitSectors];
}
