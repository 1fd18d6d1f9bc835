// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Checking;
using Fleece.Images.Container;
using Fleece.Images.Journal;

namespace Fleece.Images.Vhd;

/// <summary>VHD images (Microsoft's Virtual Hard Disk Image Format Specification, version 1.0).</summary>
internal sealed class VhdDriver : IImageDriver
{
    public ImageFormat Format => ImageFormat.Vhd;

    // The places of new blocks are whole before an entry is noted, and a bit only shows what the first flush has made durable.
    public INoteReplay Replay { get; } = new StagedReplay(stageCount: 1, FindFault);

    public bool Recognizes(IContainerFile file, ReadOnlySpan<byte> head) => VhdFooters.HasCookie(file, head);

    public ImageClaims Measure(IContainerFile file)
    {
        VhdFooters footers = VhdFooters.Read(file);
        long tableBytes = footers.Footer.Type == VhdDiskType.Fixed ? 0 : VhdHeader.Read(file, footers).MaxTableEntries * sizeof(uint);
        return new ImageClaims(footers.Footer.SizeBytes, tableBytes);
    }

    public long FindEnd(IContainerFile file, UntrustedLimits? limits) => VhdEnd.Find(file);

    public IBlockNode Open(IContainerFile file, ImageOpenOptions options, ImageChain chain) =>
        OpenAny(file, options, chain);

    public IImageLayer OpenLayer(IContainerFile file, ImageOpenOptions options, ImageChain chain) =>
        OpenAny(file, options, chain);

    public ImageInfo Describe(IContainerFile file, ImageInfo info)
    {
        VhdFooters footers = VhdFooters.Read(file);
        VhdFooter footer = footers.Footer;
        info = info with
        {
            SizeBytes = footer.SizeBytes,
            FormatVersion = (int)(VhdFooter.Version1 >> 16),
            DiskIdentifier = footer.UniqueId,
            IsDirty = footers.TrailerOffsetBytes is null,
            Features = NameFeatures(footer),
        };
        if (footer.Type == VhdDiskType.Fixed)
        {
            FixedVhdMap.CheckLength(file.Path, footers);
            return info with { Type = ImageType.Fixed };
        }

        VhdHeader header = VhdHeader.Read(file, footers);
        info = info with { Type = ImageType.Dynamic, BlockSizeBytes = header.BlockBytes };
        if (footer.Type == VhdDiskType.Dynamic)
        {
            return info;
        }

        IReadOnlyList<string> candidates = VhdParentLocators.ReadCandidates(file, header);
        return info with
        {
            Type = ImageType.Differencing,
            ParentPath = ImageHome.Choose(file.Path, candidates),
            ParentFormat = ImageFormat.Vhd,
        };
    }

    public void Create(IContainerFile file, ImageCreateOptions options, ParentImage? parent)
    {
        CheckNew(file.Path, options, parent);
        VhdDiskType type = (options.IsFixed, parent) switch
        {
            (true, _) => VhdDiskType.Fixed,
            (_, null) => VhdDiskType.Dynamic,
            _ => VhdDiskType.Differencing,
        };
        VhdLayout layout = new()
        {
            Type = type,
            SizeBytes = options.SizeBytes!.Value,
            BlockBytes = options.BlockSizeBytes ?? VhdLimits.DefaultBlockBytes,
        };
        if (parent?.Layer is { } layer)
        {
            layout = layout with
            {
                ParentPath = layer.Path,
                ParentId = FindMap(layer)!.UniqueId,
                ParentTimestamp = VhdFooter.ToTimestamp(File.GetLastWriteTimeUtc(layer.Path)),
            };
        }

        layout.WriteTo(file);
    }

    // The footer at the end counts, so it comes last: until then the image is the one it was. An image whose footers disagree because this
    // was interrupted is taken for what that one says, and both are written again.
    public void TakeOverIdentity(IContainerFile file, IContainerFile other)
    {
        VhdFooter identity = VhdFooters.Read(other).Footer;
        VhdFooters footers = VhdFooters.Read(file);
        VhdFooter footer = footers.Footer.WithIdentityOf(identity);
        if (footer.Type != VhdDiskType.Fixed)
        {
            file.Write(0, footer.Bytes);
            file.Flush();
        }

        file.Write(footers.TrailerOffsetBytes ?? footers.EndOfSectorsBytes, footer.Bytes);
        file.Flush();
    }

    public ImageReport Check(IContainerFile file, ImageRepair repair, CancellationToken cancellationToken) =>
        new VhdCheck(file, repair, cancellationToken).Run();

    private static ImageNode OpenAny(IContainerFile file, ImageOpenOptions options, ImageChain chain)
    {
        if (options.SnapshotName is { } snapshot)
        {
            throw FormatFault.Vhd.Unsupported(file.Path, $"the format has no internal snapshots, and so none called '{snapshot}'");
        }

        VhdFooters footers = VhdFooters.Read(file);
        return footers.Footer.Type == VhdDiskType.Fixed
            ? new ImageNode(file, new FixedVhdMap(file, footers), parent: null)
            : VhdMap.Open(
                file,
                footers,
                options.MetadataCacheBytes ?? VhdLimits.MetadataCacheBytes,
                options.IsLayerOnly ? null : header => OpenParent(file, header, chain),
                options.GrowthBytes ?? VhdLimits.GrowthBytes,
                options.MustStoreZeroes,
                chain.Journal?.Kept);
    }

    // Another program has given a place to a block that a note has given to another one.
    private static string? FindFault(IContainerFile file)
    {
        VhdFooters footers = VhdFooters.Read(file);
        if (footers.Footer.Type == VhdDiskType.Fixed)
        {
            return "it is of another image";
        }

        VhdHeader header = VhdHeader.Read(file, footers);
        string? fault = null;
        VhdBlockTable.Read(file, header).FindFaults(header, footers.ContentEndBytes, found =>
        {
            if (found.Block < header.BlockCount)
            {
                fault ??= $"another program has changed the image since: {found.Describe(header, footers.ContentEndBytes)}";
            }
        });
        return fault;
    }

    // The time stamp is recorded and not judged: file systems, copies and restores change the times of files that nobody wrote
    // to, and whole chains have become unusable over daylight saving time in programs that insist on it.
    private static ParentImage OpenParent(IContainerFile file, VhdHeader header, ImageChain chain)
    {
        IReadOnlyList<string> candidates = VhdParentLocators.ReadCandidates(file, header);
        if (candidates.Count == 0)
        {
            throw FormatFault.Vhd.Corrupt(
                file.Path, "it is a differencing image, and neither a parent locator nor the parent's name says where its parent is");
        }

        return chain.OpenParent(file.Path, candidates, ImageFormat.Vhd, parent => FindMismatch(file.Path, header, parent));
    }

    private static BlockException? FindMismatch(string path, VhdHeader header, IContainerFile parent)
    {
        Guid parentId = VhdFooters.Read(parent).Footer.UniqueId;
        return parentId == header.ParentId ? null : new BlockException(
            ImageErrors.Corrupt,
            $"The parent '{parent.Path}' of '{path}' was changed after the child was made, or another image stands in its place: " +
            $"the child's parent unique id is {header.ParentId}, and the parent's unique id is {parentId}. Put the right parent back.",
            path,
            operation: "open");
    }

    private static IVhdMap? FindMap(IImageLayer layer) => (layer as ImageNode)?.Map as IVhdMap;

    private static List<string> NameFeatures(VhdFooter footer)
    {
        uint version = footer.CreatorVersion;
        List<string> features = [$"creator '{footer.PrintableCreator}' {version >> 16}.{version & 0xffff}"];
        if ((footer.Features & VhdFooter.TemporaryFeature) != 0)
        {
            features.Add("temporary");
        }

        if (footer.HasSavedState)
        {
            features.Add("saved state");
        }

        return features;
    }

    private static void CheckNew(string path, ImageCreateOptions options, ParentImage? parent)
    {
        if (options.SizeBytes > VhdLimits.MaxSizeBytes)
        {
            throw FormatFault.Vhd.CannotCreate(
                path, $"{options.SizeBytes} bytes are more than the format's {VhdLimits.MaxSizeBytes} (2040 GiB). Make it a VHDX");
        }

        if (options.LogicalSectorSizeBytes is { } sectorBytes and not VhdLimits.SectorBytes)
        {
            throw FormatFault.Vhd.CannotCreate(path, $"its sectors have 512 bytes, not {sectorBytes}. Make it a VHDX");
        }

        if (options.IsFixed && (parent is not null || options.BlockSizeBytes is not null))
        {
            throw FormatFault.Vhd.CannotCreate(path, "a fixed image has neither a parent nor blocks. Leave them out, or make it dynamic");
        }

        if (options.BlockSizeBytes is { } blockBytes and not (VhdLimits.DefaultBlockBytes or VhdLimits.SmallBlockBytes))
        {
            throw FormatFault.Vhd.CannotCreate(
                path,
                $"its block size would be {blockBytes}, and Windows takes {VhdLimits.SmallBlockBytes} and " +
                $"{VhdLimits.DefaultBlockBytes} only");
        }

        if (parent is not null && FindMap(parent.Layer) is null)
        {
            throw FormatFault.Vhd.CannotCreate(
                path, $"its parent '{parent.Layer.Path}' is a {parent.Layer.Format} image, and a VHD's parent is a VHD");
        }

        if (parent is not null && options.SizeBytes != parent.Layer.LengthBytes)
        {
            throw FormatFault.Vhd.CannotCreate(
                path,
                $"its disk would have {options.SizeBytes} bytes and its parent's has {parent.Layer.LengthBytes}: they must be the " +
                "same. Leave the size out");
        }
    }
}
