// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Chain;
using Fleece.Images.Container;
using Fleece.Images.Tests.Example;
using Fleece.Images.Tests.Vhd;
using Fleece.Images.Tests.Vhdx;
using Fleece.Images.Vhd;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Crashes;

/// <summary>The formats and variants that the crash tests run over.</summary>
internal static class CrashRows
{
    private const int SmallDiskBytes = 320 * 1024;
    private const int MovingTableDiskBytes = 2200 * 1024;
    private const int VhdxDiskBytes = (3 * VhdxImages.MiB) + 5120;

    private static readonly CrashRow[] Rows =
    [
        Qcow2("qcow2", new ImageCreateOptions { Format = ImageFormat.Qcow2 }) with { Rounds = 6 },
        Qcow2("qcow2, refcounts of 1 bit", new ImageCreateOptions { Format = ImageFormat.Qcow2, RefcountBits = 1 }),
        Qcow2("qcow2, refcounts of 64 bits", new ImageCreateOptions { Format = ImageFormat.Qcow2, RefcountBits = 64 }),
        Qcow2("qcow2 version 2", new ImageCreateOptions { Format = ImageFormat.Qcow2, Version = 2 }),
        Qcow2("qcow2 over a parent", new ImageCreateOptions { Format = ImageFormat.Qcow2 }, hasParent: true),
        Qcow2("qcow2 version 2 over a parent", new ImageCreateOptions { Format = ImageFormat.Qcow2, Version = 2 }, hasParent: true),
        Qcow2("qcow2, subclusters", new ImageCreateOptions { Format = ImageFormat.Qcow2, HasSubclusters = true }),
        Qcow2("qcow2, subclusters over a parent", new ImageCreateOptions { Format = ImageFormat.Qcow2, HasSubclusters = true }, true),
        Qcow2Snapshots("qcow2, snapshots", "cluster_size=512,refcount_bits=2", 512),
        Qcow2Snapshots("qcow2, snapshots and subclusters", "extended_l2=on,cluster_size=16384", 16 * 1024),
        Vhd("VHD", hasParent: false),
        Vhd("VHD over a parent", hasParent: true),
        Vhdx("VHDX", hasParent: false),
        Vhdx("VHDX over a parent", hasParent: true),
        new CrashRow("the example", ExampleDriver.ExampleFormat, MakeExample)
        {
            BlockBytes = ExampleDriver.BlockBytes,
            RepairsAllLeaks = false,
        },
    ];

    /// <summary>A qcow2 image whose refcount table becomes too short when more than 2 MiB are written.</summary>
    public static CrashRow MovingTable { get; } = Qcow2Row("qcow2, a refcount table that moves", 512, (folder, _) =>
    {
        string path = folder.NewFile(".qcow2");
        Qemu.Image("create", "-q", "-f", "qcow2", "-o", "cluster_size=512,refcount_bits=64", path, $"{MovingTableDiskBytes}");
        return new CrashImage(File.ReadAllBytes(path), new byte[MovingTableDiskBytes], path) { GrowthBytes = 0 };
    });

    /// <summary>The names of all rows, for theories.</summary>
    public static TheoryData<string> Names => [.. Rows.Select(row => row.Name)];

    /// <summary>The names of the rows whose format keeps a journal.</summary>
    public static TheoryData<string> JournaledNames =>
        [.. Rows.Where(row => FindDriver(row.Format).Replay is not null).Select(row => row.Name)];

    /// <summary>The row of a name; the test is skipped where the row's programs are missing.</summary>
    public static CrashRow Find(string name)
    {
        CrashRow row = Array.Find(Rows, row => row.Name == name)!;
        if (row.NeedsQemu)
        {
            Qemu.SkipWhenMissing();
        }

        return row;
    }

    /// <summary>The driver of a row's format.</summary>
    public static IImageDriver FindDriver(ImageFormat format) =>
        format == ExampleDriver.ExampleFormat ? new ExampleDriver() : ImageDrivers.Find(format);

    /// <summary>A row of qcow2 images that Fleece makes. A parent is raw and ends inside a cluster of its child.</summary>
    public static CrashRow Qcow2(string name, ImageCreateOptions options, bool hasParent = false, int diskBytes = SmallDiskBytes)
    {
        int clusterBytes = options.HasSubclusters ? 16 * 1024 : 512;
        return Qcow2Row(name, clusterBytes, (folder, seeds) =>
        {
            byte[] content = new byte[diskBytes];
            string? parentPath = null;
            if (hasParent)
            {
                byte[] below = seeds.Bytes(diskBytes - 20_000 - 512);
                below.CopyTo(content, 0);
                parentPath = folder.NewFile();
                File.WriteAllBytes(parentPath, below);
            }

            string path = folder.NewFile(".qcow2");
            MemoryContainer file = new([], path: path);
            ImageCreateOptions all = options with
            {
                SizeBytes = diskBytes,
                BlockSizeBytes = clusterBytes,
                ParentPath = parentPath,
                ParentFormat = hasParent ? ImageFormat.Raw : null,
            };
            ImageDrivers.Find(ImageFormat.Qcow2).Create(file, all, null);
            return new CrashImage(file.Content, content, path) { GrowthBytes = seeds.Pick(0, 64 * 1024) };
        });
    }

    private static CrashRow Qcow2Snapshots(string name, string options, int clusterBytes) =>
        Qcow2Row(name, clusterBytes, (folder, seeds) =>
        {
            string path = folder.NewFile(".qcow2");
            Qemu.Image("create", "-q", "-f", "qcow2", "-o", options, path, $"{SmallDiskBytes}");
            Qemu.Io(path, "write -P 1 0 100k");
            Qemu.Image("snapshot", "-c", "one", path);
            Qemu.Io(path, "write -P 2 50k 100k");
            Qemu.Image("snapshot", "-c", "two", path);
            return new CrashImage(File.ReadAllBytes(path), Qemu.Content(path), path) { GrowthBytes = seeds.Pick(0, 64 * 1024) };
        });

    private static CrashRow Qcow2Row(string name, int clusterBytes, Func<TempFolder, Seeds, CrashImage> make) =>
        new(name, ImageFormat.Qcow2, make)
        {
            BlockBytes = clusterBytes,
            FailureStep = 3,
            NeedsQemu = true,
            Audit = (_, crashed, _, context) => ImageAudit.LeaksAtMost(crashed, context),
            AuditByPeer = (folder, bytes, isClosed, context) =>
            {
                string path = folder.NewFile(".qcow2");
                File.WriteAllBytes(path, bytes);
                if (isClosed)
                {
                    Qemu.CheckClean(path);
                }
                else
                {
                    Qemu.CheckLeaksAtMost(path, context);
                }

                File.Delete(path);
            },
        };

    // Blocks are smaller than any that Windows makes, so that a small disk has many.
    private static CrashRow Vhd(string name, bool hasParent)
    {
        const int BlockBytes = 16 * 1024;
        return new CrashRow(name, ImageFormat.Vhd, (folder, seeds) =>
        {
            long growthBytes = seeds.Pick(0, 20_000, 100_000);
            if (!hasParent)
            {
                byte[] empty = VhdImages.Empty(VhdDiskType.Dynamic, SmallDiskBytes, BlockBytes);
                return new CrashImage(empty, new byte[SmallDiskBytes], folder.NewFile(".vhd")) { GrowthBytes = growthBytes };
            }

            string parentPath = folder.NewFile(".vhd");
            VhdImages.CreateFile(parentPath, SmallDiskBytes, BlockBytes);
            Fill(ImageFormat.Vhd, parentPath, SmallDiskBytes / 4, seeds.Bytes(SmallDiskBytes / 2));
            byte[] parent = new Vhd.VhdReader(File.ReadAllBytes(parentPath)).Read();
            string path = folder.NewFile(".vhd");
            VhdImages.CreateFile(path, SmallDiskBytes, BlockBytes, parentPath);
            return new CrashImage(File.ReadAllBytes(path), (byte[])parent.Clone(), path)
            {
                ParentContent = parent,
                GrowthBytes = growthBytes,
            };
        })
        {
            BlockBytes = BlockBytes,
            Rounds = 8,
            Generations = 40,
            RepairsAllLeaks = false,
            Audit = (image, crashed, content, context) =>
            {
                Vhd.VhdReader reader = new(crashed, image.ParentContent);
                reader.Audit(context);
                Assert.True(content.AsSpan().SequenceEqual(reader.Read()), $"the second reader reads something else; {context}");
            },
        };
    }

    private static CrashRow Vhdx(string name, bool hasParent) => new(name, ImageFormat.Vhdx, (folder, seeds) =>
    {
        string path = folder.NewFile(".vhdx");
        long growthBytes = seeds.Pick(0, VhdxImages.MiB);
        if (!hasParent)
        {
            return new CrashImage(VhdxImages.Empty(VhdxDiskBytes), new byte[VhdxDiskBytes], path) { GrowthBytes = growthBytes };
        }

        string parentPath = folder.NewFile(".vhdx");
        byte[] below = seeds.Bytes(2 * VhdxImages.MiB);
        Create(parentPath, VhdxImages.Options(VhdxDiskBytes, VhdxImages.MiB));
        Fill(ImageFormat.Vhdx, parentPath, VhdxImages.MiB / 2, below);
        Create(path, new ImageCreateOptions
        {
            Format = ImageFormat.Vhdx,
            ParentPath = parentPath,
            BlockSizeBytes = VhdxImages.MiB,
        });
        byte[] content = new byte[VhdxDiskBytes];
        below.CopyTo(content, VhdxImages.MiB / 2);
        return new CrashImage(File.ReadAllBytes(path), content, path) { GrowthBytes = growthBytes };
    })
    {
        BlockBytes = VhdxImages.MiB,
        LongPercent = 30,
        FailureStep = 3,
        Generations = 5,
        Rounds = 3,
        Requests = 40,
        IsDirtyAfterCrash = true,
    };

    private static CrashImage MakeExample(TempFolder folder, Seeds seeds)
    {
        string path = folder.NewFile(".example");
        MemoryContainer file = new([], path: path);
        new ExampleDriver().Create(file, new ImageCreateOptions { Format = ExampleDriver.ExampleFormat, SizeBytes = SmallDiskBytes }, null);
        return new CrashImage(file.Content, new byte[SmallDiskBytes], path);
    }

    private static void Create(string path, ImageCreateOptions options) =>
        Image.CreateAsync(path, options).AsTask().GetAwaiter().GetResult();

    private static void Fill(ImageFormat format, string path, long offsetBytes, byte[] data)
    {
        IBlockNode node = ImageDrivers.Find(format).Open(
            new LocalContainer(LocalFile.Open(path, isReadOnly: false)),
            new ImageOpenOptions { Format = format },
            new ImageChain(path, ImageDrivers.Find));
        node.WriteAsync(offsetBytes, data, WriteFlags.None, CancellationToken.None).AsTask().GetAwaiter().GetResult();
        node.DisposeAsync().AsTask().GetAwaiter().GetResult();
    }
}
