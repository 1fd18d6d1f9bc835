// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Fleece.Block;
using Fleece.Nbd.Server.Buffers;
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Server.Negotiation;
using Fleece.Nbd.Server.Requests;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>Connections in transmission that share a memory budget of any size, without a server around them.</summary>
internal sealed class TransmissionRig : IDisposable
{
    /// <summary>The id that base:allocation has; clients with structured replies have chosen it.</summary>
    public const uint AllocationId = 1;

    private readonly TempFolder _folder = new();
    private readonly WorkThreads _threads = new("Fleece NBD I/O");
    private readonly List<RawClient> _clients = [];
    private readonly List<Task> _running = [];
    private readonly NbdExport _export;

    public TransmissionRig(BlockDevice device, long budgetBytes)
    {
        Budget = new MemoryBudget(budgetBytes);
        _export = new NbdExport
        {
            Name = "vm",
            Device = device,
            Access = ExportAccess.Write,
            Contexts = [new AllocationContext(device)],
        };
    }

    public MemoryBudget Budget { get; }

    /// <summary>How long clients may take nothing.</summary>
    public TimeSpan StallTimeout { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>Another connection; its client ends with the rig.</summary>
    public RawClient Add(HeaderMode mode = HeaderMode.Simple)
    {
        (Socket client, Socket server) = Pair();
        NetworkStream stream = new(server, ownsSocket: true) { WriteTimeout = (int)StallTimeout.TotalMilliseconds };
        ChosenContext[] contexts = mode == HeaderMode.Simple ? [] : [new ChosenContext(AllocationId, _export.Contexts[0])];
        Negotiated negotiated = new(stream, _export, mode != HeaderMode.Simple, mode == HeaderMode.Extended, contexts);
        _running.Add(OwnThread.Run(() => Run(negotiated)));
        _clients.Add(RawClient.Over(client, mode));
        return _clients[^1];
    }

    public void Dispose()
    {
        _clients.ForEach(client => client.Dispose());
        Assert.True(Task.WaitAll([.. _running], TimeSpan.FromMinutes(1)), "A connection did not end.");
        Assert.Equal(0, Budget.UsedBytes);
        _folder.Dispose();
    }

    private void Run(Negotiated negotiated)
    {
        using CancellationTokenSource ended = new();
        using (Transmission transmission = new(negotiated, Budget, _threads, ended, "test"))
        {
            transmission.Run();
        }

        negotiated.Stream.Dispose();
    }

    private (Socket Client, Socket Server) Pair()
    {
        using Socket listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        UnixDomainSocketEndPoint address = new(_folder.NewFile(".s"));
        listener.Bind(address);
        listener.Listen();
        Socket client = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        client.Connect(address);
        return (client, listener.Accept());
    }
}
