// SPDX-License-Identifier: MIT
using Fleece.Block.Files;

namespace Fleece.Benchmarks;

/// <summary>The files of one benchmark: in memory where the system has a folder for that, else where FLEECE_BENCH_DIR says.</summary>
internal sealed class BenchmarkFiles : IAsyncDisposable
{
    private readonly string _folder;
    private readonly List<FileNode> _nodes = [];

    public BenchmarkFiles()
    {
        string parent = Environment.GetEnvironmentVariable("FLEECE_BENCH_DIR") ??
            (Directory.Exists("/dev/shm") ? "/dev/shm" : Path.GetTempPath());
        _folder = Directory.CreateDirectory(Path.Combine(parent, $"fleece-bench-{Guid.NewGuid():N}")).FullName;
    }

    /// <summary>Makes a sparse file.</summary>
    public FileNode Create(string name, long lengthBytes)
    {
        FileNode node = FileNode.Create(Path.Combine(_folder, name), lengthBytes);
        _nodes.Add(node);
        return node;
    }

    /// <summary>Closes a file, which stays.</summary>
    public async ValueTask CloseAsync(FileNode node)
    {
        _ = _nodes.Remove(node);
        await node.DisposeAsync();
    }

    /// <summary>Closes a file and deletes it.</summary>
    public async ValueTask RemoveAsync(FileNode node)
    {
        await CloseAsync(node);
        File.Delete(node.Path);
    }

    /// <summary>Closes and deletes all.</summary>
    public async ValueTask DisposeAsync()
    {
        foreach (FileNode node in _nodes)
        {
            await node.DisposeAsync();
        }

        Directory.Delete(_folder, recursive: true);
    }
}
