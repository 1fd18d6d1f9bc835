// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.TestKit;

namespace Fleece.Images.Tests;

/// <summary>The contract of block nodes, over images in files.</summary>
public abstract class Qcow2Conformance(int clusterBytes) : BlockNodeConformance, IDisposable
{
    private readonly TempFolder _folder = new();

    // With clusters larger than the suite's disk only a discard of all of it frees something.
    protected override int DiscardUnitBytes => clusterBytes <= 1024 * 1024 ? clusterBytes : 0;

    protected override bool ReportsFreedRanges => true;

    public void Dispose()
    {
        _folder.Dispose();
        GC.SuppressFinalize(this);
    }

    protected override async ValueTask<IBlockNode> CreateAsync(long lengthBytes) =>
        await Images.CreateAsync(_folder.NewFile(".qcow2"), lengthBytes, clusterBytes);
}

/// <summary>The smallest clusters: many tables, and a refcount table that has to grow.</summary>
public sealed class Qcow2With512ByteClustersConformance() : Qcow2Conformance(512);

/// <summary>Clusters as small as a page.</summary>
public sealed class Qcow2With4KiBClustersConformance() : Qcow2Conformance(4096);

/// <summary>The usual clusters.</summary>
public sealed class Qcow2With64KiBClustersConformance() : Qcow2Conformance(65536);

/// <summary>The largest clusters: the disk is half a cluster.</summary>
public sealed class Qcow2With2MiBClustersConformance() : Qcow2Conformance(2 * 1024 * 1024);

/// <summary>Sorts of images that are made here, over the same contract.</summary>
public abstract class Qcow2VariantConformance : BlockNodeConformance, IDisposable
{
    private readonly TempFolder _folder = new();

    protected override int DiscardUnitBytes => 65536;

    protected override bool ReportsFreedRanges => true;

    protected TempFolder Folder => _folder;

    public void Dispose()
    {
        _folder.Dispose();
        GC.SuppressFinalize(this);
    }

    protected abstract ImageCreateOptions Options(long lengthBytes);

    protected override async ValueTask<IBlockNode> CreateAsync(long lengthBytes)
    {
        string path = _folder.NewFile(".qcow2");
        await Image.CreateAsync(path, Options(lengthBytes));
        return Images.Open(path);
    }
}

/// <summary>Subclusters.</summary>
public sealed class Qcow2WithSubclustersConformance : Qcow2VariantConformance
{
    protected override ImageCreateOptions Options(long lengthBytes) =>
        new() { Format = ImageFormat.Qcow2, SizeBytes = lengthBytes, HasSubclusters = true };
}

/// <summary>The data in a file of its own.</summary>
public sealed class Qcow2WithDataFileConformance : Qcow2VariantConformance
{
    protected override ImageCreateOptions Options(long lengthBytes) => new()
    {
        Format = ImageFormat.Qcow2,
        SizeBytes = lengthBytes,
        DataFilePath = Path.GetFileName(Folder.NewFile()),
    };
}

/// <summary>Over a parent that is shorter than the disk and holds zeros.</summary>
public sealed class Qcow2OverParentConformance : Qcow2VariantConformance
{
    // Above the parent zeros are noted, behind its end nothing is stored: two runs.
    protected override bool ReportsFreedRanges => false;

    protected override ImageCreateOptions Options(long lengthBytes)
    {
        string parent = Folder.NewFile();
        File.WriteAllBytes(parent, new byte[Math.Max(512, lengthBytes / 1024 * 512)]);
        return new()
        {
            Format = ImageFormat.Qcow2,
            SizeBytes = lengthBytes,
            ParentPath = parent,
            ParentFormat = ImageFormat.Raw,
        };
    }
}
