// SPDX-License-Identifier: MIT
using Fleece.Disks;
using Fleece.Qemu.Records;

namespace Fleece.Qemu;

/// <summary>The guests that QEMU runs, as this process works with them: their disks, and the sessions that it has begun.</summary>
/// <remarks>
/// <para>A monitor serves one client at a time, so no connection to it outlives a call.</para>
/// <para>Threading. All members are safe from any thread. Errors. <see cref="QemuErrors"/> and <see cref="DiskErrors"/>; a call that
/// fails has changed nothing. Ownership. It owns its sessions.</para>
/// </remarks>
#pragma warning disable CA1822 // Its members come with the parts below it.
internal sealed class QemuGuests(QemuGuestsOptions options) : IAsyncDisposable
{
    /// <summary>The sessions that run, oldest first.</summary>
    public IReadOnlyList<IRunningSession> Sessions => [];

    /// <summary>The disks of a guest. Changes nothing.</summary>
    /// <param name="qmpSocketPath">The absolute path of the QMP socket of its QEMU.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public ValueTask<IReadOnlyList<QemuDiskInfo>> ListDisksAsync(string qmpSocketPath, CancellationToken cancellationToken) =>
        throw new NotSupportedException($"{options}");

    /// <summary>Disks of one guest, whose sessions can begin at one instant. Sessions that a job begins are in <see cref="Sessions"/>.
    /// </summary>
    /// <param name="qmpSocketPath">The absolute path of the QMP socket.</param>
    /// <param name="devices">The devices, each once: ids, names of backends, QOM paths or node-names.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public ValueTask<IFleeceableSet> FindFleeceablesAsync(
        string qmpSocketPath, IReadOnlyList<string> devices, CancellationToken cancellationToken) => throw new NotSupportedException();

    /// <summary>Begins a session of each device, all at one instant.</summary>
    /// <param name="qmpSocketPath">The absolute path of the QMP socket.</param>
    /// <param name="devices">The devices, each once.</param>
    /// <param name="sessionOptions">How; the same for all.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public ValueTask<IReadOnlyList<IRunningSession>> StartSessionsAsync(
        string qmpSocketPath, IReadOnlyList<string> devices, SessionOptions sessionOptions, CancellationToken cancellationToken) =>
        throw new NotSupportedException();

    /// <summary>Takes out of a QEMU all that sessions of processes that died have added to it.</summary>
    /// <param name="qmpSocketPath">The absolute path of the QMP socket.</param>
    /// <param name="isForced">True to take out what living processes have added too. The sessions of this one are ended without success.
    /// </param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <returns>A sentence for each thing that was taken out.</returns>
    public ValueTask<IReadOnlyList<string>> CleanUpAsync(string qmpSocketPath, bool isForced, CancellationToken cancellationToken) =>
        throw new NotSupportedException();

    /// <summary>Ends all sessions without success. Idempotent.</summary>
    public ValueTask DisposeAsync() => default;
}
