// SPDX-License-Identifier: MIT
using System.Globalization;
using Fleece.Block;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Client;

/// <summary>The block contract, over the client and nbdkit's disk in memory.</summary>
public sealed class NbdkitConformanceTests : BlockNodeConformance, IDisposable
{
    private readonly List<PeerServer> _servers = [];

    protected override bool ReportsFreedRanges => true;

    public void Dispose() => _servers.ForEach(server => server.Dispose());

    protected override async ValueTask<IBlockNode> CreateAsync(long lengthBytes)
    {
        PeerServer server = PeerServer.Nbdkit("memory", lengthBytes.ToString(CultureInfo.InvariantCulture));
        _servers.Add(server);
        return await server.ConnectAsync();
    }
}

/// <summary>The block contract over a server that has little: no FUA, no zeroing, no status, and only short requests of whole
/// sectors.</summary>
public sealed class PoorServerConformanceTests : BlockNodeConformance, IDisposable
{
    private readonly List<PeerServer> _servers = [];

    public void Dispose() => _servers.ForEach(server => server.Dispose());

    protected override async ValueTask<IBlockNode> CreateAsync(long lengthBytes)
    {
        PeerServer server = PeerServer.Nbdkit(
            "--no-sr",
            "--filter=blocksize-policy",
            "--filter=nozero",
            "--filter=fua",
            "--filter=noparallel",
            "memory",
            lengthBytes.ToString(CultureInfo.InvariantCulture),
            "zeromode=none",
            "blocksize-minimum=512",
            "blocksize-preferred=4096",
            "blocksize-maximum=65536",
            "blocksize-error-policy=error");
        _servers.Add(server);
        return await server.ConnectAsync();
    }
}

/// <summary>The block contract, over the client and qemu-nbd with a sparse file.</summary>
public sealed class QemuNbdConformanceTests : BlockNodeConformance, IDisposable
{
    private readonly List<PeerServer> _servers = [];
    private readonly TempFolder _folder = new();

    public void Dispose()
    {
        _servers.ForEach(server => server.Dispose());
        _folder.Dispose();
    }

    protected override async ValueTask<IBlockNode> CreateAsync(long lengthBytes)
    {
        string path = _folder.NewFile();
        using (FileStream file = File.Create(path))
        {
            file.SetLength(lengthBytes);
        }

        PeerServer server = PeerServer.QemuNbd("--format=raw", "--discard=unmap", path);
        _servers.Add(server);
        return await server.ConnectAsync();
    }
}

/// <summary>The contract of nodes that refuse changes, over the client and a server that says it is read-only.</summary>
public sealed class ReadOnlyServerConformanceTests : ReadOnlyNodeConformance, IDisposable
{
    private readonly List<PeerServer> _servers = [];
    private readonly TempFolder _folder = new();

    public void Dispose()
    {
        _servers.ForEach(server => server.Dispose());
        _folder.Dispose();
    }

    protected override async ValueTask<IBlockNode> CreateAsync(byte[] content)
    {
        string path = _folder.NewFile();
        await File.WriteAllBytesAsync(path, content);
        PeerServer server = PeerServer.Nbdkit("--readonly", "file", path);
        _servers.Add(server);
        return await server.ConnectAsync();
    }
}
