// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.TestKit;

namespace Fleece.Images.Tests.Vhdx;

/// <summary>The contract of block nodes, over images in files.</summary>
public abstract class VhdxConformance(int blockBytes, int sectorBytes = 512, bool isFixed = false) : BlockNodeConformance, IDisposable
{
    private readonly TempFolder _folder = new();

    // Whole blocks are freed, and within a block whole pages are zeroed.
    protected override int DiscardUnitBytes => 4096;

    protected override bool ReportsFreedRanges => !isFixed;

    public void Dispose()
    {
        _folder.Dispose();
        GC.SuppressFinalize(this);
    }

    protected override async ValueTask<IBlockNode> CreateAsync(long lengthBytes)
    {
        string path = _folder.NewFile(".vhdx");
        await Image.CreateAsync(path, VhdxImages.Options(lengthBytes, blockBytes, sectorBytes, isFixed));
        return VhdxImages.Open(await OverParentAsync(path));
    }

    /// <summary>The image to open: the one that was created, or a child of it.</summary>
    private protected virtual ValueTask<string> OverParentAsync(string path) => new(path);

    private protected string NewFile() => _folder.NewFile(".vhdx");
}

/// <summary>The smallest blocks.</summary>
public sealed class VhdxWith1MiBBlocksConformance() : VhdxConformance(1024 * 1024);

/// <summary>The usual blocks, larger than the suite's disk.</summary>
public sealed class VhdxWith32MiBBlocksConformance() : VhdxConformance(32 * 1024 * 1024);

/// <summary>The largest blocks.</summary>
public sealed class VhdxWith256MiBBlocksConformance() : VhdxConformance(256 * 1024 * 1024);

/// <summary>Large sectors.</summary>
public sealed class VhdxWith4KiBSectorsConformance() : VhdxConformance(1024 * 1024, sectorBytes: 4096);

/// <summary>Nothing is ever allocated or freed.</summary>
public sealed class FixedVhdxConformance() : VhdxConformance(2 * 1024 * 1024, isFixed: true);

/// <summary>A child of an empty parent; every write sets bits of a sector bitmap.</summary>
public abstract class VhdxChildConformance(int blockBytes, int sectorBytes = 512) : VhdxConformance(blockBytes, sectorBytes)
{
    private readonly int _childBlockBytes = blockBytes;

    private protected override async ValueTask<string> OverParentAsync(string path)
    {
        string child = NewFile();
        await VhdxImages.CreateChildAsync(child, path, _childBlockBytes);
        return child;
    }
}

/// <summary>A child with the usual blocks.</summary>
public sealed class VhdxChildWith2MiBBlocksConformance() : VhdxChildConformance(2 * 1024 * 1024);

/// <summary>A child whose sectors are larger than many requests.</summary>
public sealed class VhdxChildWith4KiBSectorsConformance() : VhdxChildConformance(1024 * 1024, sectorBytes: 4096);

/// <summary>A child whose blocks have their bits in many pages.</summary>
public sealed class VhdxChildWith256MiBBlocksConformance() : VhdxChildConformance(256 * 1024 * 1024);
