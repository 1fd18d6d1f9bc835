// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;

namespace Fleece.Hosting.Control;

/// <summary>The process that owns disks: this one, or a host that it is connected to.</summary>
/// <remarks>
/// <para>What is asked of it is plain data and so are the answers. Bytes of disks come another way: <see cref="OpenSnapshotAsync"/> and
/// <see cref="OpenDiskAsync"/> hand out devices, which are the disk's own in this process and NBD clients of a host's private socket.
/// </para>
/// <para>Threading. All members are safe from any thread. Errors. <see cref="BlockException"/>; a call that fails has changed nothing,
/// unless its kind is HostErrors.CallInterrupted.</para>
/// </remarks>
internal interface IDiskOwner
{
    /// <summary>Mounted disks.</summary>
    IDiskControl Disks { get; }

    /// <summary>Their sessions.</summary>
    ISessionControl Sessions { get; }

    /// <summary>Their dirty bitmaps.</summary>
    IBitmapControl Bitmaps { get; }

    /// <summary>What of them is published over NBD.</summary>
    IExportControl Exports { get; }

    /// <summary>Guests that a QEMU runs whose disks are its own.</summary>
    IGuestControl Guests { get; }

    /// <summary>Counts and times of the process.</summary>
    IMetricControl Metrics { get; }

    /// <summary>Opens the snapshot of a session, or of one of its consumers, for reading.</summary>
    /// <param name="session">The session and, in it, the consumer; null for the only session there is.</param>
    /// <param name="discards">True when the reader discards what it has finished with.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    ValueTask<OpenedSnapshot> OpenSnapshotAsync(SessionReference? session, bool discards, CancellationToken cancellationToken);

    /// <summary>Opens a disk as a guest does.</summary>
    ValueTask<OpenedDisk> OpenDiskAsync(DiskReference disk, CancellationToken cancellationToken);

    /// <summary>The disks as a job fleeces them: mounted ones, or devices of one guest. A session that the job begins is ended without
    /// success when this process dies.</summary>
    ValueTask<IFleeceableSet> FindFleeceablesAsync(IReadOnlyList<DiskReference> disks, CancellationToken cancellationToken);
}

/// <summary>A snapshot that is open for reading.</summary>
/// <remarks>Ownership. The caller disposes it when no chunk of it is in use any more; the session goes on.</remarks>
internal sealed class OpenedSnapshot(ISnapshotSource source, Func<ValueTask>? close = null) : IAsyncDisposable
{
    /// <summary>The snapshot.</summary>
    public ISnapshotSource Source => source;

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => close?.Invoke() ?? default;
}

/// <summary>A disk that is open for reading and writing.</summary>
/// <remarks>Ownership. The caller disposes it; the disk stays mounted.</remarks>
internal sealed class OpenedDisk(string name, BlockDevice device, Func<ValueTask>? close = null) : IAsyncDisposable
{
    /// <summary>The disk's name.</summary>
    public string Name => name;

    /// <summary>Its bytes.</summary>
    public BlockDevice Device => device;

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => close?.Invoke() ?? default;
}
