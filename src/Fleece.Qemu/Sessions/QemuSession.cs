// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks;
using Fleece.Disks.Records;
using Fleece.Disks.Storage;
using Fleece.Nbd;
using Fleece.Nbd.Server.Exports;
using Fleece.Qemu.Bitmaps;
using Fleece.Qemu.Graph;
using Fleece.Qemu.Reading;

namespace Fleece.Qemu.Sessions;

/// <summary>One point in time of one disk of a guest, which the guest's QEMU keeps.</summary>
/// <remarks>
/// <para>Nothing holds the monitor while it runs. QEMU does not tell of a snapshot that it lost, of which the next reader learns. Its own
/// end shows at once, by the connections to the export.</para>
/// <para>Threading. All members are safe from any thread. Ownership. It owns its snapshot, and its part of the graph.</para>
/// </remarks>
#pragma warning disable CA1001 // The token source has no timer and no handle; exports may ask for its token after the end.
internal sealed class QemuSession : IRunningSession
{
    private readonly QemuSessionPlan _plan;
    private readonly FleecedDisk _disk;
    private readonly GuestInstant _instant;
    private readonly QemuSnapshot _snapshot;
    private readonly Func<QemuSession, bool, ValueTask<bool>> _end;
    private readonly CancellationTokenSource _ended = new();
    private readonly Lock _lock = new();
    private Task<bool>? _ending;
    private string? _untoldWarning;

    /// <summary>Takes over a session that has begun.</summary>
    /// <param name="plan">What was asked for.</param>
    /// <param name="disk">The disk as the graph has it.</param>
    /// <param name="instant">The instant.</param>
    /// <param name="snapshot">The snapshot, open.</param>
    /// <param name="warning">What the user should hear of how it began; null for nothing.</param>
    /// <param name="end">Takes it out of QEMU.</param>
    public QemuSession(
        QemuSessionPlan plan,
        FleecedDisk disk,
        GuestInstant instant,
        QemuSnapshot snapshot,
        string? warning,
        Func<QemuSession, bool, ValueTask<bool>> end)
    {
        _plan = plan;
        _disk = disk;
        _instant = instant;
        _snapshot = snapshot;
        _untoldWarning = warning;
        _end = end;
    }

    /// <inheritdoc/>
    public string Name => _plan.Name;

    /// <summary>The disk's name.</summary>
    public string DiskName => _disk.Disk.Name;

    /// <summary>"DISK/NAME", unique in the process.</summary>
    public string Id => _plan.Id;

    /// <summary>The monitor's socket.</summary>
    public string QmpSocketPath => _plan.QmpSocketPath;

    /// <summary>The instant.</summary>
    public DateTimeOffset StartedAt => _instant.At;

    /// <inheritdoc/>
    public Guid InstantId => _plan.InstantId;

    /// <inheritdoc/>
    public CancellationToken Ended => _ended.Token;

    /// <inheritdoc/>
    public BlockDevice Snapshot => _snapshot.Snapshot;

    /// <inheritdoc/>
    public long SizeBytes => _snapshot.SizeBytes;

    /// <inheritdoc/>
    public int GranuleSizeBytes => _snapshot.GranuleSizeBytes;

    /// <inheritdoc/>
    int ISnapshotSource.ReadsAtOnce => QemuSnapshot.ReadsAtOnce;

    /// <inheritdoc/>
    string ISnapshotSource.Address => _disk.Disk.Node?.FilePath is { } path ? PrintableText.Of(path) : DiskName;

    /// <inheritdoc/>
    string? ISnapshotSource.Consumer => null;

    /// <inheritdoc/>
    DateTimeOffset? ISnapshotSource.Instant => StartedAt;

    /// <inheritdoc/>
    SnapshotIdentity? ISnapshotSource.Identity =>
        new(InstantId, DiskName, Id, _plan.Turn?.Pinned?.Parsed.Name, _plan.Turn?.BaselineId, _snapshot.Limits);

    /// <summary>What the session does with the disk's bitmaps; null where it has none.</summary>
    internal QemuBitmapTurn? Turn => _plan.Turn;

    /// <summary>The disk's number in the graph.</summary>
    internal int DiskIndex => _disk.DiskIndex;

    /// <summary>The device, by the name that finds it again.</summary>
    internal string Device => _disk.Disk.Device;

    /// <inheritdoc/>
    public SessionInfo Describe()
    {
        long tempBytes = SessionStory.TempBytesOf(_disk);
        return new SessionInfo
        {
            Name = Name,
            Disk = DiskName,
            Id = Id,
            State = _snapshot.State,
            BrokenBy = _snapshot.BrokenBy is { } failure ? SessionStory.CauseOf(failure, _disk, _plan.Options.Limits.Timeout) : null,
            StartedAt = StartedAt,
            InstantId = InstantId,
            SizeBytes = SizeBytes,
            GranuleSizeBytes = GranuleSizeBytes,
            OnCopyError = _plan.Options.OnCopyError,
            CopyTimeout = _plan.Options.Limits.Timeout,
            TempUsedBytes = tempBytes,
            CopiedBytes = tempBytes,
            ConsumedBytes = _snapshot.ConsumedBytes,
            TempPath = _disk.TempPath,
            Bitmap = _plan.Turn?.Pinned?.Name,
            NextBitmap = PrintableText.Of(_plan.Turn?.NextName),
            QmpSocketPath = QmpSocketPath,
            GuestPause = _instant.Pause,
            IsQuiesced = _instant.Freeze is not null,
        };
    }

    /// <inheritdoc/>
    public bool IsCalled(string name) =>
        string.Equals(Name, name, StringComparison.OrdinalIgnoreCase) || string.Equals(Id, name, StringComparison.OrdinalIgnoreCase);

    /// <inheritdoc/>
    public ISnapshotSource GetSource(string? consumer, bool discards)
    {
        CheckNone(consumer);
        return this;
    }

    /// <inheritdoc/>
    public IReadOnlyList<ISnapshotSource> GetViews(string? consumer) => [GetSource(consumer, discards: false)];

    /// <inheritdoc/>
    public SnapshotRun GetRun(string? consumer, long offsetBytes)
    {
        CheckNone(consumer);
        return _snapshot.GetRun(offsetBytes);
    }

    /// <inheritdoc/>
    public NbdExport ExportAs(string? consumer, string exportName, bool isReadOnly)
    {
        CheckNone(consumer);
        return new NbdExport
        {
            Name = exportName,
            Description = $"disk {DiskName} at {StartedAt:O}",
            Device = Snapshot,
            Access = isReadOnly ? ExportAccess.Read : ExportAccess.Consume,
            Contexts = _snapshot.Contexts,
            Identity = IdentityOfExport()?.ToPairs() ?? [],
            Ended = Ended,
        };
    }

    /// <inheritdoc/>
    public string? TakeWarning() => Interlocked.Exchange(ref _untoldWarning, null);

    /// <inheritdoc/>
    public ValueTask<BlockRange> FindReadableAsync(long offsetBytes, long endBytes, CancellationToken cancellationToken) =>
        new(_snapshot.NextReadable(offsetBytes, endBytes));

    /// <inheritdoc/>
    /// <remarks>A session that broke under a reader ends without success. QEMU's end after the last read takes nothing from what was read.
    /// Where QEMU can't be reached though it runs, the session stays, can't be read any more, and may be ended again.</remarks>
    /// <exception cref="BlockException">Why it could not be taken out of QEMU.</exception>
    public async ValueTask<bool> EndAsync(bool isSuccess)
    {
        Task<bool> ending;
        lock (_lock)
        {
            if (_ending is null or { IsFaulted: true })
            {
                _ending = RunEndAsync(isSuccess && !_snapshot.HasFailed);
            }

            ending = _ending;
        }

        return await ending.ConfigureAwait(false);
    }

    /// <summary>The id.</summary>
    public override string ToString() => Id;

    private async Task<bool> RunEndAsync(bool isSuccess)
    {
        await _snapshot.DisposeAsync().ConfigureAwait(false);
        bool counts = await _end(this, isSuccess).ConfigureAwait(false);
        await _ended.CancelAsync().ConfigureAwait(false);
        return counts;
    }

    private void CheckNone(string? consumer)
    {
        if (consumer is not null)
        {
            throw new BlockException(
                DiskErrors.ConsumerUnknown,
                $"The session '{Id}' is of a guest that QEMU runs, and counts no consumers. Leave -Consumer out.");
        }
    }

    private ExportIdentity? IdentityOfExport()
    {
        string?[] names = [DiskName, Name, _plan.Turn?.Pinned?.Parsed.Name];
        return !names.All(name => name is null || IdentityNames.CanTell(name)) ? null : new ExportIdentity
        {
            IsSnapshot = true,
            DiskName = DiskName,
            SessionName = Name,
            Instant = StartedAt,
            InstantId = InstantId,
            BitmapName = _plan.Turn?.Pinned?.Parsed.Name,
            BaselineId = _plan.Turn?.BaselineId,
            IsLimited = _plan.Turn is { BaselineId: null, LimitedBy: not null },
        };
    }
}

/// <summary>A session that is to begin.</summary>
/// <param name="QmpSocketPath">The monitor's socket.</param>
/// <param name="DiskName">The disk's name.</param>
/// <param name="Name">The session's name.</param>
/// <param name="InstantId">The identity of its instant.</param>
/// <param name="Turn">What it does with bitmaps; null for nothing.</param>
/// <param name="Options">What was asked for.</param>
internal sealed record QemuSessionPlan(
    string QmpSocketPath, string DiskName, string Name, Guid InstantId, QemuBitmapTurn? Turn, SessionOptions Options)
{
    /// <summary>"DISK/NAME".</summary>
    public string Id => $"{DiskName}/{Name}";
}
