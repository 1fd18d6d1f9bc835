// SPDX-License-Identifier: MIT
using System.Text;
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Qcow2.Foundation;

namespace Fleece.Images.Qcow2;

/// <summary>What a new qcow2 image is to be, validated.</summary>
internal sealed record Qcow2LayoutOptions
{
    public required long SizeBytes { get; init; }

    public int Version { get; init; } = 3;

    public int ClusterBits { get; init; } = Qcow2Limits.DefaultClusterBits;

    public int RefcountOrder { get; init; } = Qcow2Limits.DefaultRefcountOrder;

    public bool HasSubclusters { get; init; }

    public bool IsZstd { get; init; }

    /// <summary>The parent's name as it is recorded; null without a parent.</summary>
    public string? BackingName { get; init; }

    public ImageFormat BackingFormat { get; init; }

    /// <summary>Full path of the data file; null to keep the data in the image. It is recorded in full because QEMU looks
    /// for a relative one in its working folder, and not beside the image.</summary>
    public string? DataFileName { get; init; }

    /// <summary>Takes what applies to qcow2 and refuses the rest.</summary>
    /// <exception cref="BlockException">InvalidArgument.</exception>
    public static Qcow2LayoutOptions From(string path, ImageCreateOptions options)
    {
        int version = options.Version ?? 3;
        Refuse(path, options.IsFixed, "IsFixed", "a qcow2 image grows as it is written");
        Refuse(path, options.LogicalSectorSizeBytes is not null, "LogicalSectorSizeBytes", "qcow2 does not record a sector size");
        Refuse(path, version is not (2 or 3), $"version {version}", "qcow2 has the versions 2 and 3");
        int clusterBytes = options.BlockSizeBytes ?? 1 << Qcow2Limits.DefaultClusterBits;
        BlockRange.CheckPowerOfTwo(
            clusterBytes, 1 << Qcow2Limits.MinClusterBits, 1 << Qcow2Limits.MaxClusterBits, "The cluster size");
        int refcountBits = options.RefcountBits ?? 1 << Qcow2Limits.DefaultRefcountOrder;
        BlockRange.CheckPowerOfTwo(refcountBits, 1, 1 << Qcow2Limits.MaxRefcountOrder, "The refcount width in bits");
        Qcow2LayoutOptions layout = new()
        {
            SizeBytes = options.SizeBytes!.Value,
            Version = version,
            ClusterBits = int.TrailingZeroCount(clusterBytes),
            RefcountOrder = int.TrailingZeroCount(refcountBits),
            HasSubclusters = options.HasSubclusters,
            IsZstd = options.Compression == ImageCompression.Zstd,
            BackingName = options.ParentPath,
            BackingFormat = options.ParentFormat ?? ImageFormat.Raw,
            DataFileName = options.DataFilePath is { } dataPath ? ImageChain.Resolve(path, dataPath) : null,
        };
        layout.CheckTogether(path);
        return layout;
    }

    private void CheckTogether(string path)
    {
        bool isOld = Version == 2;
        const string New = "that needs version 3";
        Refuse(path, isOld && RefcountOrder != Qcow2Limits.DefaultRefcountOrder, "refcounts that are not 16 bits wide", New);
        Refuse(path, isOld && HasSubclusters, "subclusters", New);
        Refuse(path, isOld && IsZstd, "zstd compression", New);
        Refuse(path, isOld && DataFileName is not null, "a data file", New);
        Refuse(
            path,
            HasSubclusters && ClusterBits < Qcow2Limits.MinClusterBitsWithSubclusters,
            $"subclusters and clusters of {1 << ClusterBits} bytes",
            $"clusters with subclusters have at least {1 << Qcow2Limits.MinClusterBitsWithSubclusters} bytes");
        if (BackingName is { } name)
        {
            int nameBytes = Encoding.UTF8.GetByteCount(name);
            Refuse(
                path,
                (ulong)nameBytes > Qcow2Limits.MaxBackingNameBytes,
                $"a parent's path of {nameBytes} bytes",
                $"qcow2 stores at most {Qcow2Limits.MaxBackingNameBytes}; give a path relative to the image");
            Refuse(
                path,
                RecordedName.IsProtocol(name),
                $"the parent's path '{name}'",
                "readers take it for a protocol; begin it with './'");
        }
    }

    private static void Refuse(string path, bool isRefused, string what, string why)
    {
        if (isRefused)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument, $"Cannot create the qcow2 image '{path}' with {what}: {why}.", path);
        }
    }
}
