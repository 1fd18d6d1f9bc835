// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using System.Text.Json;
using Fleece.Block;
using Fleece.Hosting.Control;
using Fleece.Hosting.Rpc;

namespace Fleece.Hosting.Client;

/// <summary>How a client reaches a host.</summary>
/// <param name="SocketPath">The absolute path of the control socket.</param>
/// <param name="Library">JSON-RPC; asked for when the first connection is made.</param>
/// <param name="Json">How arguments and answers are written.</param>
internal sealed record HostAddress(string SocketPath, Func<IRpcLibrary> Library, JsonSerializerOptions Json)
{
    /// <summary>How long the host may take to greet.</summary>
    public TimeSpan HelloTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How long a call waits for a host that was there and is gone: a restart takes a few seconds.</summary>
    public TimeSpan RestartTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Where time comes from; tests have their own.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;
}

/// <summary>One connection to a host that has greeted.</summary>
internal sealed record HostLink(IRpcConnection Rpc, HostWelcome Welcome)
{
    /// <summary>The version of this module.</summary>
    public static readonly string ModuleVersion = typeof(HostLink).Assembly.GetName().Version!.ToString(3);

    /// <summary>True until the connection ends.</summary>
    public bool IsOpen => !Rpc.Ended.IsCompleted;

    /// <summary>Connects and greets.</summary>
    /// <param name="address">The host.</param>
    /// <param name="leaseToken">The token of an earlier connection; null for none.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="BlockException">As <see cref="HostSocket.ConnectAsync"/>; HostErrors.VersionMismatch; why the host refuses.
    /// </exception>
    public static async ValueTask<HostLink> DialAsync(HostAddress address, string? leaseToken, CancellationToken cancellationToken)
    {
        Socket socket = await HostSocket.ConnectAsync(address.SocketPath, cancellationToken).ConfigureAwait(false);
        IRpcConnection rpc;
        try
        {
            rpc = address.Library().Open(new NetworkStream(socket, ownsSocket: true), [], address.Json, HostProtocol.ClientLimits);
        }
        catch
        {
            socket.Dispose();
            throw;
        }

        try
        {
            rpc.Start();
            return new HostLink(rpc, await GreetAsync(rpc, address, leaseToken, cancellationToken).ConfigureAwait(false));
        }
        catch
        {
            await rpc.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    private static async ValueTask<HostWelcome> GreetAsync(
        IRpcConnection rpc, HostAddress address, string? leaseToken, CancellationToken cancellationToken)
    {
        ClientHello hello = new(
            HostProtocol.Version, HostProtocol.OldestVersion, ModuleVersion, Environment.ProcessId, leaseToken);
        HostWelcome? welcome;
        try
        {
            // The wait ends by itself: a peer that says nothing does not say either that it has given the call up.
            Task<HostWelcome?> answer = rpc
                .CallAsync<HostWelcome?>(nameof(IHostControl.HelloAsync), new { hello }, cancellationToken).AsTask();
            welcome = await answer.WaitAsync(address.HelloTimeout, address.Time, cancellationToken).ConfigureAwait(false);
        }
        catch (TimeoutException cause)
        {
            throw HostSocket.NotRunning(
                address.SocketPath,
                $"a process takes the connection and says nothing for {address.HelloTimeout.TotalSeconds:0.#} seconds. If it is the " +
                "host, it hangs: restart it.",
                cause);
        }
        catch (BlockException cause) when (cause.Kind == HostErrors.CallInterrupted)
        {
            throw HostSocket.NotRunning(
                address.SocketPath,
                "the process there ends the connection and does not greet, so it is another program or going down.",
                cause);
        }

        if (welcome is not { LeaseToken.Length: > 0, ModuleVersion: not null })
        {
            throw HostSocket.NotRunning(address.SocketPath, "the process there greets as no Fleece host does.");
        }

        return welcome.ProtocolVersion is >= HostProtocol.OldestVersion and <= HostProtocol.Version ? welcome : throw HostProtocol.Mismatch(
            address.SocketPath, (welcome.ModuleVersion, welcome.ProtocolVersion), (ModuleVersion, HostProtocol.Version));
    }
}
