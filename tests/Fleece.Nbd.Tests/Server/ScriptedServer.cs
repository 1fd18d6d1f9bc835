// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Memory;
using Fleece.Nbd.Server.Buffers;
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Server.Negotiation;
using Fleece.Nbd.Server.Requests;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>Runs the server's own code against all that a client sends, without sockets, and judges what it answers.</summary>
internal static class ScriptedServer
{
    /// <summary>Fails where the server breaks a rule or itself; returns how many requests it has answered rightly.</summary>
    /// <param name="script">All the client sends.</param>
    /// <param name="content">What the disk holds at first.</param>
    /// <param name="access">What clients may do.</param>
    /// <param name="pieceBytes">How much of what is there each receive gets; null for all.</param>
    /// <param name="isCold">True for a disk whose reads wait unless they were started ahead.</param>
    public static async Task<int> RunAsync(
        byte[] script, byte[] content, ExportAccess access, Func<int, int>? pieceBytes = null, bool isCold = false)
    {
        // Two slow reads begin the looking ahead; more slow requests of one sort would be answered by other threads, in any order.
        IBlockNode disk = isCold ? new ColdNode(content.Length, mostSleeps: 3) : new MemoryNode(content.Length);
        await using BlockDevice device = new(disk, "vm");
        await device.WriteAsync(0, content);
        ReferenceDisk model = new(content.Length);
        model.Write(0, content);
        NbdExport export = new()
        {
            Name = "vm",
            Description = "scripted",
            Device = device,
            Access = access,
            Contexts = [new AllocationContext(device)],
            Identity = [KeyValuePair.Create("disk", "a b")],
        };
        ScriptStream stream = new(script, pieceBytes);
        Serve(stream, export);
        return Judge(script, stream.Sent, export, model);
    }

    private static void Serve(ScriptStream stream, NbdExport export)
    {
        Negotiated? negotiated = null;
        try
        {
            negotiated = new ServerHandshake(stream, new OneExport(export), null).Run();
        }
        catch (EndOfStreamException)
        {
            // The script was over.
        }

        if (negotiated is not null)
        {
            MemoryBudget budget = new(64 * 1024 * 1024);
            using CancellationTokenSource ended = new();
            using (Transmission transmission = new(negotiated, budget, new WorkThreads("Fleece NBD I/O"), ended, "scripted"))
            {
                transmission.Run();
            }

            Assert.Equal((0, false), (budget.UsedBytes, ended.IsCancellationRequested));
        }
    }

    private static int Judge(byte[] script, byte[] sent, NbdExport export, ReferenceDisk model)
    {
        OracleReader client = new(script);
        OracleReader server = new(sent);
        HandshakeOracle handshake = new(client, server, export, MetaContexts.BaseAllocation);
        int answered = 0;
        if (handshake.Check())
        {
            TransmissionOracle transmission = new(client, server, handshake.Mode, export.Access, handshake.HasContext, model);
            transmission.Check();
            answered = transmission.Checked;
        }

        Assert.Equal(0, server.Left);
        return answered;
    }

    private sealed class OneExport(NbdExport export) : IExportDirectory
    {
        public IReadOnlyList<NbdExport> List() => [export];

        public NbdExport? Find(string name) => name is "" or "vm" ? export : null;
    }
}
