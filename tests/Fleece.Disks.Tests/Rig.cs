// SPDX-License-Identifier: MIT
using Fleece.Backups.Reading;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;
using Fleece.Disks.Bitmaps.Sidecars;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Disks.Tests;

/// <summary>Disks over real files in a folder that ends with the test.</summary>
internal sealed class Rig : IAsyncDisposable
{
    private readonly List<Disk> _disks = [];

    public TempFolder Folder { get; } = new();

    public Seeds Seeds { get; } = Seeds.FromEnvironment();

    /// <summary>A raw disk with the content.</summary>
    public async Task<Disk> AddDiskAsync(string name, byte[] content)
    {
        string path = Folder.File(name + ".raw");
        await File.WriteAllBytesAsync(path, content);
        return await OpenAsync(path, name);
    }

    /// <summary>A sparse raw disk.</summary>
    public async Task<Disk> AddDiskAsync(string name, long sizeBytes)
    {
        string path = Folder.File(name + ".raw");
        await FileNode.Create(path, sizeBytes).DisposeAsync();
        return await OpenAsync(path, name);
    }

    /// <summary>Dismounts a disk and mounts it again.</summary>
    public async Task<Disk> RemountAsync(Disk disk, bool isReadOnly = false)
    {
        await disk.DisposeAsync();
        return await OpenAsync(disk.Path, disk.Name, isReadOnly);
    }

    /// <summary>Leaves a disk as a killed process does: files as they are, nothing stored, nothing said.</summary>
    public async Task KillAsync(Disk disk)
    {
        IBlockNode image = disk.Chain.Tracking.Below;
        while (image is CopyBeforeWriteFilter filter)
        {
            image = filter.Active;
        }

        disk.Witness.Dispose();
        disk.Bitmaps.Store.Abandon();
        await image.DisposeAsync();
        _disks.Remove(disk);
    }

    /// <summary>As <see cref="KillAsync"/>, with the image as it was: nothing of what its format keeps back is stored. The files have
    /// not been touched for a minute then.</summary>
    public async Task KillLongAgoAsync(Disk disk)
    {
        // By a program that asks for no lock, and back into the same file.
        Peer.Need("cp");
        string copy = Folder.File("as-killed");
        await Peer.RunAsync("cp", disk.Path, copy);
        await KillAsync(disk);
        byte[] image = await File.ReadAllBytesAsync(copy);
        await using (FileStream left = new(disk.Path, FileMode.Open, FileAccess.Write))
        {
            left.SetLength(image.Length);
            await left.WriteAsync(image);
        }

        Age(disk.Path);
    }

    /// <summary>Nobody has touched the image and its sidecar for a minute.</summary>
    public static void Age(string imagePath)
    {
        File.SetLastWriteTimeUtc(imagePath, DateTime.UtcNow.AddMinutes(-1));
        File.SetLastWriteTimeUtc(Sidecar.PathFor(imagePath), DateTime.UtcNow.AddMinutes(-1));
    }

    /// <summary>A disk of an image that exists.</summary>
    public Task<Disk> OpenAsync(string path) => OpenAsync(path, Path.GetFileNameWithoutExtension(path));

    /// <summary>Starts one session on one disk.</summary>
    public static async Task<Session> StartAsync(Disk disk, SessionOptions? options = null) =>
        (await Session.StartAsync([disk], options ?? new SessionOptions()))[0];

    /// <summary>The whole snapshot in one buffer.</summary>
    public static async Task<byte[]> ReadAllAsync(Session session)
    {
        byte[] content = new byte[session.SizeBytes];
        await session.Snapshot.ReadAsync(0, content);
        return content;
    }

    /// <summary>All chunks of a read, in the order they came.</summary>
    public static async Task<List<SnapshotChunk>> ChunksAsync(Session session, SnapshotReadOptions? options = null)
    {
        List<SnapshotChunk> chunks = [];
        await using SnapshotRead read = new(session, options ?? new SnapshotReadOptions());
        while (await read.NextAsync() is { } chunk)
        {
            chunks.Add(chunk);
        }

        return chunks;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (Disk disk in _disks)
        {
            await disk.DisposeAsync();
        }

        Folder.Dispose();
    }

    private async Task<Disk> OpenAsync(string path, string name, bool isReadOnly = false)
    {
        Disk disk = await Disk.OpenAsync(path, name, new ImageOpenOptions { IsReadOnly = isReadOnly });
        _disks.Add(disk);
        return disk;
    }
}
