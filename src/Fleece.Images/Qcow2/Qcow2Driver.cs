// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Checking;
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Checking;

namespace Fleece.Images.Qcow2;

/// <summary>qcow2 images (docs/interop/qcow2.txt).</summary>
internal sealed class Qcow2Driver : IImageDriver
{
    public ImageFormat Format => ImageFormat.Qcow2;

    public bool Recognizes(IContainerFile file, ReadOnlySpan<byte> head) =>
        BinaryPrimitives.ReadUInt32BigEndian(head) == Qcow2Header.Magic;

    public IBlockNode Open(IContainerFile file, ImageOpenOptions options, ImageChain chain) => Qcow2Node.Open(file);

    public IImageLayer OpenLayer(IContainerFile file, ImageOpenOptions options, ImageChain chain) => Qcow2Node.Open(file);

    public ImageInfo Describe(IContainerFile file, ImageInfo info)
    {
        Qcow2Header header = Qcow2Header.Read(file);
        return info with
        {
            Type = ImageType.Dynamic,
            SizeBytes = header.SizeBytes,
            BlockSizeBytes = header.ClusterBytes,
            FormatVersion = header.Version,
            IsDirty = header.IsDirty,
            IsCorrupt = header.IsCorrupt,
        };
    }

    public void Create(IContainerFile file, ImageCreateOptions options, ParentImage? parent) =>
        new Qcow2Layout(file.Path, options.SizeBytes!.Value, options.BlockSizeBytes ?? 1 << Qcow2Limits.DefaultClusterBits)
            .WriteTo(file);

    public ImageReport Check(IContainerFile file, ImageRepair repair, CancellationToken cancellationToken) =>
        Qcow2Check.Run(file, repair, cancellationToken);
}
