// SPDX-License-Identifier: MIT
using Fleece.Block.Files;
using Fleece.Sessions.Reading;
using Fleece.TestKit;

namespace Fleece.Sessions.Tests;

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

    private async Task<Disk> OpenAsync(string path, string name)
    {
        Disk disk = await Disk.OpenAsync(path, name);
        _disks.Add(disk);
        return disk;
    }
}
