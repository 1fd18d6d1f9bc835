// SPDX-License-Identifier: MIT
using Fleece.Block.Files;
using Fleece.TestKit;

namespace Fleece.Block.Tests.Files;

/// <summary>A file opened for reading only.</summary>
public sealed class ReadOnlyFileNodeConformance : ReadOnlyNodeConformance, IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    protected override async ValueTask<IBlockNode> CreateAsync(byte[] content)
    {
        string path = _folder.NewFile();
        await File.WriteAllBytesAsync(path, content);
        return FileNode.Open(path, isReadOnly: true);
    }
}
