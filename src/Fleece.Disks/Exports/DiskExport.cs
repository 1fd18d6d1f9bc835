// SPDX-License-Identifier: MIT
using Fleece.Block.Telemetry;
using Fleece.Disks.Records;
using Fleece.Nbd;
using Fleece.Nbd.Server.Exports;

namespace Fleece.Disks.Exports;

/// <summary>A disk that is published at an address, with its snapshots: "NAME" is the disk, "NAME/SESSION" a snapshot, and
/// "NAME/SESSION/CONSUMER" the same for one of the consumers that the session counts.</summary>
/// <remarks>
/// Where consumers are counted, only their exports can be discarded from: a client of the other is none of them.
/// Snapshots come and go with the sessions while clients of the disk stay connected.
/// Threading. All members are safe from any thread.
/// </remarks>
internal sealed class DiskExport
{
    private readonly Listener _listener;
    private readonly Func<int> _countGuests;
    private readonly MetricOwner _guestOwner;
    private readonly MetricOwner _readerOwner;
    private readonly ExportTraffic _guestTraffic;
    private readonly ExportTraffic _readerTraffic;

    internal DiskExport(Listener listener, Disk disk, string name, ExportOptions options, Func<int> countGuests)
    {
        _listener = listener;
        _countGuests = countGuests;
        Disk = disk;
        Name = name;
        IsReadOnly = options.IsReadOnly;
        IsSnapshotOnly = options.IsSnapshotOnly;
        MetricOwner owner = new(("disk", disk.Name), ("export", name), ("address", listener.Uri.ToString()));
        _guestOwner = owner.With("view", "disk");
        _readerOwner = owner.With("view", "snapshot");
        _guestTraffic = new ExportTraffic(_guestOwner, $"export '{name}' of the disk '{disk.Name}'", disk.Slow);
        _readerTraffic = new ExportTraffic(_readerOwner, $"snapshots of export '{name}' of the disk '{disk.Name}'", new SlowRequests());
    }

    /// <summary>The identity of this export, by which a record of an earlier one is told.</summary>
    internal Guid Id { get; } = Guid.NewGuid();

    /// <summary>The disk.</summary>
    public Disk Disk { get; }

    /// <summary>The export's name.</summary>
    public string Name { get; }

    /// <summary>The address that clients use for the disk; a snapshot's has "/SESSION" behind the name, a consumer's
    /// "/SESSION/CONSUMER".</summary>
    public NbdUri Uri => _listener.Uri.WithExport(Name);

    /// <summary>True when clients can't write, nor discard snapshots.</summary>
    public bool IsReadOnly { get; }

    /// <summary>True when only snapshots are offered.</summary>
    public bool IsSnapshotOnly { get; }

    /// <summary>What clients can use now: the disk and the snapshots of its running sessions.</summary>
    public IReadOnlyList<NbdUri> Uris => List().Select(export => _listener.Uri.WithExport(export.Name)).ToArray();

    /// <summary>Clients that use the disk or one of its snapshots now.</summary>
    public int ConnectionCount => _listener.CountConnections(this);

    /// <summary>Clients that use the disk itself now.</summary>
    public int GuestCount => _listener.CountConnections(Name);

    /// <summary>The published disk as it is now.</summary>
    public ExportInfo Describe() => new()
    {
        Disk = Disk.Name,
        Name = Name,
        Uri = Uri,
        IsReadOnly = IsReadOnly,
        IsSnapshotOnly = IsSnapshotOnly,
        Uris = new RecordList<NbdUri>(Uris),
        ConnectionCount = ConnectionCount,
        GuestCount = GuestCount,
        ExportId = Id,
        MountId = Disk.MountId,
    };

    /// <summary>The requests of its clients: of the disk's guests, and of the readers of its snapshots.</summary>
    public IEnumerable<MetricReading> ReadMetrics()
    {
        int guestCount = GuestCount;
        yield return _guestOwner.Read(FleeceMetrics.NbdConnections, guestCount);
        yield return _readerOwner.Read(FleeceMetrics.NbdConnections, Math.Max(0, ConnectionCount - guestCount));
        foreach (MetricReading reading in _guestTraffic.ReadMetrics().Concat(_readerTraffic.ReadMetrics()))
        {
            yield return reading;
        }
    }

    /// <summary>The address, as text.</summary>
    public override string ToString() => Uri.ToString();

    internal Listener Listener => _listener;

    internal bool Owns(string exportName) =>
        exportName == Name || exportName.StartsWith(Name + "/", StringComparison.Ordinal);

    internal IEnumerable<NbdExport> List()
    {
        if (!IsSnapshotOnly)
        {
            yield return ExportDisk();
        }

        foreach (Session session in Disk.Sessions)
        {
            yield return Export(session);
            foreach (SessionConsumer consumer in session.Consumers)
            {
                yield return Export(consumer);
            }
        }
    }

    internal NbdExport? Find(string exportName)
    {
        if (exportName == Name)
        {
            return IsSnapshotOnly ? null : ExportDisk();
        }

        // Neither a session's name nor a consumer's holds a slash.
        string[] names = Owns(exportName) ? exportName[(Name.Length + 1)..].Split('/') : [];
        if (names.Length is 0 or > 2 || Disk.FindSession(names[0]) is not { } session)
        {
            return null;
        }

        return names.Length == 1 ? Export(session)
            : session.FindConsumerOrNull(names[1]) is { } consumer ? Export(consumer)
            : null;
    }

    private NbdExport ExportDisk() =>
        NbdExports.Of(Disk, Name, IsReadOnly, _countGuests(), CheckDurability) with { Traffic = _guestTraffic };

    // A guest that lost writes with an earlier process hears of it once.
    private void CheckDurability() => Disk.Storage.LostWrites.Tell(Disk.Name, Disk.Path, _listener.IsOfThisMachine);

    private NbdExport Export(Session session) =>
        SessionExport.Of(session, $"{Name}/{session.Name}", IsReadOnly) with { Traffic = _readerTraffic };

    private NbdExport Export(SessionConsumer consumer) =>
        SessionExport.Of(consumer, $"{Name}/{consumer.Session.Name}/{consumer.Name}", IsReadOnly) with { Traffic = _readerTraffic };
}
