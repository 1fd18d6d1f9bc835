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
