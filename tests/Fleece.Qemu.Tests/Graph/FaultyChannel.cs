// SPDX-License-Identifier: MIT
using System.Text.Json;
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Tests.Graph;

/// <summary>What happens at a command.</summary>
public enum Fault
{
    /// <summary>It is refused, and the monitor goes on.</summary>
    Refused,

    /// <summary>It runs, and the connection ends before its answer is seen.</summary>
    AnswerLost,

    /// <summary>This process ends before it is sent.</summary>
    KilledBefore,

    /// <summary>This process ends after QEMU has run it.</summary>
    KilledAfter,
}

/// <summary>What a process that ends throws in a test: nothing catches it.</summary>
internal sealed class KilledException : Exception;

/// <summary>A monitor with a fault at its n-th command. After a kill nothing reaches it any more.</summary>
internal sealed class FaultyChannel(QmpConnection inner, int faultAt, Fault fault) : IQmpChannel, IAsyncDisposable
{
    private int _count;
    private bool _isDead;

    public string SocketPath => inner.SocketPath;

    public QemuVersion Version => inner.Version;

    public uint? PeerUserId => inner.PeerUserId;

    /// <summary>The command at which the fault came; null when there were fewer.</summary>
    public string? FaultedCommand { get; private set; }

    public async ValueTask<JsonElement> ExecuteAsync(string command, JsonObject? arguments, CancellationToken cancellationToken)
    {
        bool isFaulty = ++_count == faultAt;
        if (_isDead || (isFaulty && fault == Fault.KilledBefore))
        {
            FaultedCommand ??= command;
            _isDead = true;
            throw new KilledException();
        }

        if (!isFaulty)
        {
            return await inner.ExecuteAsync(command, arguments, cancellationToken);
        }

        FaultedCommand = command;
        if (fault == Fault.Refused)
        {
            throw new BlockException(QemuErrors.CommandRefused, "injected", SocketPath);
        }

        try
        {
            _ = await inner.ExecuteAsync(command, arguments, cancellationToken);
        }
        catch (BlockException e) when (e.Kind == QemuErrors.CommandRefused)
        {
            // Its refusal is lost as an answer is.
        }

        await inner.DisposeAsync();
        if (fault == Fault.KilledAfter)
        {
            _isDead = true;
            throw new KilledException();
        }

        throw new BlockException(QemuErrors.QemuGone, "injected", SocketPath);
    }

    public ValueTask<bool> WaitForEventAsync(
        string name, Func<JsonElement, bool> isWanted, TimeSpan timeout, CancellationToken cancellationToken) =>
        inner.WaitForEventAsync(name, isWanted, timeout, cancellationToken);

    public ValueTask DisposeAsync() => inner.DisposeAsync();
}
