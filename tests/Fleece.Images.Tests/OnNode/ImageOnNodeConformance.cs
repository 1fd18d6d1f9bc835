// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.TestKit;

namespace Fleece.Images.Tests.OnNode;

/// <summary>The contract of block nodes, over images on a device that answers later, in an order of its own.</summary>
public abstract class ImageOnNodeConformance(ImageFormat format, int alignmentBytes) : BlockNodeConformance, IDisposable
{
    private const long DeviceBytes = 8 * 1024 * 1024;

    private readonly TempFolder _folder = new();
    private readonly Seeds _seeds = Seeds.FromEnvironment();

    public void Dispose()
    {
        _folder.Dispose();
        GC.SuppressFinalize(this);
    }

    protected override async ValueTask<IBlockNode> CreateAsync(long lengthBytes)
    {
        Device device = await Device.CreateAsync(_folder, Device.Small(format, lengthBytes), DeviceBytes);
        return await device.OpenAsync(format, new AlignedNode(new DelayNode(device.Attach(), _seeds), alignmentBytes));
    }
}

/// <summary>qcow2.</summary>
public sealed class Qcow2OnNodeConformance() : ImageOnNodeConformance(ImageFormat.Qcow2, alignmentBytes: 1)
{
    protected override int DiscardUnitBytes => 4096;

    protected override bool ReportsFreedRanges => true;
}

/// <summary>qcow2 on a device of blocks that are larger than its metadata's entries and its clusters.</summary>
public sealed class Qcow2OnBlocksConformance() : ImageOnNodeConformance(ImageFormat.Qcow2, alignmentBytes: 16384)
{
    protected override int DiscardUnitBytes => 4096;

    protected override bool ReportsFreedRanges => true;
}

/// <summary>VHD.</summary>
public sealed class VhdOnNodeConformance() : ImageOnNodeConformance(ImageFormat.Vhd, alignmentBytes: 1);

/// <summary>VHDX.</summary>
public sealed class VhdxOnNodeConformance() : ImageOnNodeConformance(ImageFormat.Vhdx, alignmentBytes: 1);
