// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using Fleece.Disks;
using Fleece.Disks.Exports;
using Fleece.Images;
using Fleece.Nbd;
using Fleece.TestKit;

namespace Fleece.Peers.Tests;

/// <summary>A disk that this process serves to others over a unix socket, as Mount-FleeceDisk -ListenUri does.</summary>
internal sealed class ServedDisk : IAsyncDisposable
{
    private const string Name = "vm";

    private readonly MountedDisks _disks = new();
    private DiskExport? _export;

    private ServedDisk()
    {
    }

    public TempFolder Folder { get; } = new();

    public Seeds Seeds { get; } = Seeds.FromEnvironment();

    public Disk Disk => _disks.Find(Name);

    /// <summary>What guests connect to.</summary>
    public string Uri => _export!.Uri.ToString();

    /// <summary>Serves a disk of that size that holds nothing.</summary>
    public static async Task<ServedDisk> StartAsync(long sizeBytes, ImageFormat format = ImageFormat.Raw)
    {
        ServedDisk served = new();
        string path = served.Folder.File(format == ImageFormat.Raw ? "vm.raw" : "vm.qcow2");
        await Image.CreateAsync(path, new ImageCreateOptions { Format = format, SizeBytes = sizeBytes });
        await served.MountAsync(path, format);
        return served;
    }

    /// <summary>Serves a raw disk with random content that it also returns.</summary>
    public static async Task<(ServedDisk Served, byte[] Content)> StartFullAsync(int sizeBytes)
    {
        ServedDisk served = new();
        byte[] content = served.Seeds.Bytes(sizeBytes);
        string path = served.Folder.File("vm.raw");
        await File.WriteAllBytesAsync(path, content);
        await served.MountAsync(path, ImageFormat.Raw);
        return (served, content);
    }

    /// <summary>Where a snapshot is read and consumed.</summary>
    public string UriOf(Session session) => _export!.Uri.WithExport($"{Name}/{session.Name}").ToString();

    /// <summary>Offers the disk at a TCP port as well, and returns the address.</summary>
    public async Task<NbdUri> PublishOverTcpAsync()
    {
        ExportOptions options = new() { ListenUri = NbdUri.Parse("nbd://127.0.0.1:0/") };
        return (await _disks.Exports.PublishAsync(Disk, options)).Uri;
    }

    /// <summary>Offers the disk at a socket of its own under another name, and returns the address.</summary>
    public async Task<string> PublishAsync(string name)
    {
        ExportOptions options = new() { ListenUri = NbdUri.Parse($"nbd+unix:///?socket={Folder.File("other.sock")}"), Name = name };
        return (await _disks.Exports.PublishAsync(Disk, options)).Uri.ToString();
    }

    public async Task<Session> StartSessionAsync(SessionOptions? options = null) =>
        (await Session.StartAsync([Disk], options ?? new SessionOptions { Name = "nightly" }))[0];

    /// <summary>What the disk holds now.</summary>
    public async Task<byte[]> ReadAsync()
    {
        byte[] content = new byte[Disk.SizeBytes];
        await Disk.Device.ReadAsync(0, content);
        return content;
    }

    /// <summary>Ends the service; the image is a file like any other then. Returns its path.</summary>
    public async Task<string> DismountAsync()
    {
        string path = Disk.Path;
        await _disks.DismountAsync(Name, isForced: true);
        return path;
    }

    /// <summary>The snapshot's content as this process sees it.</summary>
    public static async Task<byte[]> ReadAsync(Session session)
    {
        byte[] content = new byte[session.SizeBytes];
        await session.Snapshot.ReadAsync(0, content);
        return content;
    }

    public static string Digest(byte[] content) => Convert.ToHexString(SHA256.HashData(content));

    public static async Task<string> DigestOfFileAsync(string path)
    {
        await using FileStream file = File.OpenRead(path);
        return Convert.ToHexString(await SHA256.HashDataAsync(file));
    }

    public async ValueTask DisposeAsync()
    {
        await _disks.DisposeAsync();
        Folder.Dispose();
    }

    private async Task MountAsync(string path, ImageFormat format)
    {
        Disk disk = await _disks.MountAsync(path, Name, new ImageOpenOptions { Format = format });
        _export = await _disks.Exports.PublishAsync(
            disk, new ExportOptions { ListenUri = NbdUri.Parse($"nbd+unix:///?socket={Folder.File("nbd.sock")}") });
    }
}
