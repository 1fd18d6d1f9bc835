// SPDX-License-Identifier: MIT
using Fleece.Block.Files;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.Files;

/// <summary>Files in the folder for temporary files, whatever file system that is on.</summary>
public sealed class FileNodeConformance : BlockNodeConformance, IDisposable
{
    private readonly TempFolder _folder = new();

    protected override int DiscardUnitBytes => OperatingSystem.IsLinux() ? 4096 : 0;

    protected override bool ReportsFreedRanges => OperatingSystem.IsLinux();

    public void Dispose() => _folder.Dispose();

    protected override ValueTask<IBlockNode> CreateAsync(long lengthBytes) =>
        new(FileNode.Create(_folder.NewFile(), lengthBytes));
}

/// <summary>Files in memory, where holes and their queries behave differently from those on a disk.</summary>
public sealed class FileNodeOnTmpfsConformance : BlockNodeConformance, IDisposable
{
    private const string TmpfsFolder = "/dev/shm";

    private readonly TempFolder? _folder = Directory.Exists(TmpfsFolder) ? new TempFolder(TmpfsFolder) : null;

    protected override int DiscardUnitBytes => 4096;

    protected override bool ReportsFreedRanges => true;

    public void Dispose() => _folder?.Dispose();

    protected override ValueTask<IBlockNode> CreateAsync(long lengthBytes)
    {
        Assert.SkipWhen(_folder is null, $"There is no tmpfs at {TmpfsFolder} here.");
        return new(FileNode.Create(_folder.NewFile(), lengthBytes));
    }
}
