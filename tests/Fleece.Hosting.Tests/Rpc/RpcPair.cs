// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Fleece.Hosting.Rpc;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.Rpc;

/// <summary>Two ends of a unix socket, the first of which answers <see cref="ITestControl"/>.</summary>
internal sealed class RpcPair : IAsyncDisposable
{
    public static readonly RpcLimits Limits = new(MaximumMessageBytes: 1024 * 1024, MaximumCalls: 8);

    private readonly TempFolder _folder = new();

    private RpcPair()
    {
    }

    public TestControl Control { get; } = new();

    public IRpcConnection Host { get; private set; } = null!;

    /// <summary>The other end; null where the test speaks for it through <see cref="Raw"/>.</summary>
    public IRpcConnection Client { get; private set; } = null!;

    public Socket Raw { get; private set; } = null!;

    /// <summary>A connection at both ends.</summary>
    public static async Task<RpcPair> OpenAsync(RpcLimits? limits = null, TestControl? clientControl = null)
    {
        RpcPair pair = await OpenRawAsync(limits);
        IReadOnlyList<RpcTarget> targets = clientControl is null ? [] : [new(typeof(ITestControl), clientControl)];
        pair.Client = RpcLibrary.Load().Open(new NetworkStream(pair.Raw, ownsSocket: true), targets, WireJson.Options, Limits);
        pair.Client.Start();
        return pair;
    }

    /// <summary>A connection at the host's end, and a socket at the other.</summary>
    public static async Task<RpcPair> OpenRawAsync(RpcLimits? limits = null)
    {
        RpcPair pair = new();
        UnixDomainSocketEndPoint address = new(pair._folder.File("s"));
        using Socket listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(address);
        listener.Listen();
        pair.Raw = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await pair.Raw.ConnectAsync(address);
        Socket accepted = await listener.AcceptAsync();
        pair.Host = RpcLibrary.Load().Open(
            new NetworkStream(accepted, ownsSocket: true),
            [new(typeof(ITestControl), pair.Control)],
            WireJson.Options,
            limits ?? Limits);
        pair.Host.Start();
        return pair;
    }

    public async ValueTask DisposeAsync()
    {
        Control.Release();
        if (Client is not null)
        {
            await Client.DisposeAsync();
        }

        await Host.DisposeAsync();
        Raw.Dispose();
        _folder.Dispose();
    }
}
