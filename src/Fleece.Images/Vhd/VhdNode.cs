// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Container;

namespace Fleece.Images.Vhd;

/// <summary>A dynamic or differencing VHD image as a block node.</summary>
/// <remarks>
/// <para>Any byte range may be read and written. In a dynamic image a block that is not allocated reads as zeros, and the sector
/// bitmap of one that is does not matter, as in QEMU. In a differencing image each sector comes from the block or from the
/// parent, as its bit says; where a part of a sector is written, the rest of it is copied from the parent first.</para>
/// <para>How requests stay out of each other's way. A new block reads as what was there before, zeros or the parent, so it is
/// published before the guest's bytes are written, and its bits are set after; two writers that race for one block both write
/// into it. Two writers of parts of one sector that the parent still holds take turns. Nothing is ever moved or given back.</para>
/// <para>Threading. Requests from any thread; reads and writes complete on the calling thread. A request may have to write
/// metadata back first when much of it has changed; then it waits for a running write-back without a thread.</para>
/// <para>Errors. After the first failed metadata write every change fails with that error (rule R7); reads go on.</para>
/// <para>Ownership. The node owns the file and the parent. <see cref="ImageNode.DisposeAsync"/> writes metadata back and reports if it
/// can't.</para>
/// </remarks>
internal sealed class VhdNode : ImageNode, IVhdLayer
{
    private readonly VhdFooters _footers;
    private readonly VhdMetadata _metadata;
    private readonly VhdReader _reader;
    private readonly VhdWriteBack? _writeBack;
    private readonly VhdWriter? _writer;
    private readonly VhdZeroing? _zeroing;

    private VhdNode(
        IContainerFile file, VhdFooters footers, VhdHeader header, VhdMetadata metadata, ParentImage? parent, bool mustStoreZeroes)
        : base(file, ImageFormat.Vhd, footers.Footer.SizeBytes, parent, VhdLimits.RunsPerStatusQuery)
    {
        _footers = footers;
        _metadata = metadata;
        Poison = metadata.Poison;
        _reader = new VhdReader(file, header, metadata, parent);
        if (!file.IsReadOnly)
        {
            _writeBack = new VhdWriteBack(file, metadata);
            _writer = new VhdWriter(file, header, metadata, _reader, _writeBack);
            _zeroing = new VhdZeroing(file, header, metadata, _reader, _writer, _writeBack, mustStoreZeroes);
        }
    }

    Guid IVhdLayer.UniqueId => _footers.Footer.UniqueId;

    /// <summary>The tables, for tests.</summary>
    internal VhdMetadata Metadata => _metadata;

    /// <summary>Opens an image; on failure the file is left to the caller and has not been changed.</summary>
    /// <param name="file">The container, which the node owns from then on.</param>
    /// <param name="footers">Its footers, of a dynamic or differencing image.</param>
    /// <param name="cacheBytes">Budget of the sector bitmaps.</param>
    /// <param name="openParent">Opens the parent by what the header says; null to leave it out.</param>
    /// <param name="growthBytes">By how much the file grows at least; tests take less.</param>
    /// <param name="mustStoreZeroes">As <see cref="ImageOpenOptions.MustStoreZeroes"/>.</param>
    /// <exception cref="BlockException">Corrupt, Truncated, Unsupported; why the parent can't be opened; read errors.</exception>
    public static VhdNode Open(
        IContainerFile file,
        VhdFooters footers,
        long cacheBytes,
        Func<VhdHeader, ParentImage>? openParent,
        long growthBytes = VhdLimits.GrowthBytes,
        bool mustStoreZeroes = false)
    {
        if (!file.IsReadOnly && footers.AreContradictory)
        {
            throw VhdFault.Corrupt(
                file.Path,
                $"the copy of the footer at the start {footers.CopyProblem}, so it can only be opened read-only; " +
                "Test-FleeceImage -Repair All takes the footer at the end for both",
                0);
        }

        VhdHeader header = VhdHeader.Read(file, footers);
        VhdMetadata metadata = new(file, footers, header, cacheBytes, growthBytes);
        bool hasParent = metadata.IsDifferencing && openParent is not null;
        return new VhdNode(file, footers, header, metadata, hasParent ? openParent!(header) : null, mustStoreZeroes);
    }

    public override void Read(long offsetBytes, Span<byte> buffer) => _reader.Read(offsetBytes, buffer);

    public override void ReadAhead(long offsetBytes, long lengthBytes) => _reader.ReadAhead(offsetBytes, lengthBytes);

    public override DepthRun GetDepth(long offsetBytes, long lengthBytes) => _reader.GetDepth(offsetBytes, lengthBytes);

    public override ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, data.Length, "write", cancellationToken);
        return _writer!.WriteAsync(offsetBytes, data, flags, cancellationToken);
    }

    public override ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, lengthBytes, "write zeros to", cancellationToken);
        return _zeroing!.WriteZeroesAsync(offsetBytes, lengthBytes, flags, cancellationToken);
    }

    public override ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, lengthBytes, "discard", cancellationToken);
        _zeroing!.Discard(offsetBytes, lengthBytes);
        return default;
    }

    public override ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        Check(0, 0, "flush", cancellationToken);
        return _writeBack is null ? default : _writeBack.RunAsync(cancellationToken);
    }

    protected override BlockStatusRun GetRun(long offsetBytes, long lengthBytes) => _reader.GetRun(offsetBytes, lengthBytes);

    protected override void Close()
    {
        try
        {
            _writeBack?.Finish();
        }
        finally
        {
            _writeBack?.Dispose();
        }
    }
}
