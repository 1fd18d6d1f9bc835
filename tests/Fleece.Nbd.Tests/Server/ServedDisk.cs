// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Memory;
using Fleece.Nbd.Server;
using Fleece.Nbd.Server.Exports;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>A node that is served as the export "vm" at a unix socket; the server must end without a defect of its own.</summary>
internal sealed class ServedDisk : IExportDirectory, IAsyncDisposable
{
    public const string Name = "vm";

    public ServedDisk(IBlockNode node, ExportAccess access = ExportAccess.Write, NbdServerOptions? options = null, string? uri = null)
    {
        Device = new BlockDevice(node, Name);
        Export = new NbdExport
        {
            Name = Name,
            Description = "a disk of a test",
            Device = Device,
            Access = access,
            Contexts = [new AllocationContext(Device)],
            Ended = Ended.Token,
        };
        NbdUri address = NbdUri.Parse(uri ?? $"nbd+unix:///?socket={Folder.File("socket")}");
        Server = NbdServer.Listen(address, this, options ?? new NbdServerOptions());
    }

    /// <summary>A disk in memory.</summary>
    public ServedDisk(long lengthBytes = 1024 * 1024, NbdServerOptions? options = null, string? uri = null)
        : this(new MemoryNode(lengthBytes), ExportAccess.Write, options, uri)
    {
    }

    public TempFolder Folder { get; } = new();

    public BlockDevice Device { get; }

    public NbdServer Server { get; }

    /// <summary>What clients find; tests replace it.</summary>
    public NbdExport? Export { get; set; }

    /// <summary>Takes the export away.</summary>
    public CancellationTokenSource Ended { get; } = new();

    public IReadOnlyList<NbdExport> List() => Export is null ? [] : [Export];

    public NbdExport? Find(string name) => name.Length == 0 || name == Name ? Export : null;

    public RawClient Connect() => RawClient.Connect(Server.Uri);

    /// <summary>A client in transmission.</summary>
    public RawClient Go(HeaderMode mode = HeaderMode.Simple, params ReadOnlySpan<string> contexts) =>
        Connect().Greet().Go(mode, Name, contexts);

    public async Task<byte[]> ReadAsync(long offsetBytes, int lengthBytes)
    {
        byte[] data = new byte[lengthBytes];
        await Device.ReadAsync(offsetBytes, data);
        return data;
    }

    public async ValueTask DisposeAsync()
    {
        await Server.DisposeAsync();
        await Device.DisposeAsync();
        Ended.Dispose();
        Folder.Dispose();
        Assert.Equal(0, Server.FailureCount);
    }
}

/// <summary>Nothing is served.</summary>
internal sealed class NoExports : IExportDirectory
{
    public IReadOnlyList<NbdExport> List() => [];

    public NbdExport? Find(string name) => null;
}
