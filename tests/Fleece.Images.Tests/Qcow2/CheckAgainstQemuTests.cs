// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text.Json;
using Fleece.Block;
using Fleece.Images.Checking;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Qcow2;

/// <summary>The check beside QEMU's, over sound images of QEMU's and over damaged ones.</summary>
public sealed class CheckAgainstQemuTests : IDisposable
{
    private const int Clean = 0;
    private const int Corrupt = 2;
    private const int Leaking = 3;

    // QEMU's docs/interop/qcow2.txt, "Header" and "Cluster mapping".
    private const int L1OffsetField = 40;
    private const ulong EntryOffsetMask = 0x00ff_ffff_ffff_fe00;

    private readonly TempFolder _folder = new();

    /// <summary>Options of qemu-img create, the disk's size, and what is done to the image then.</summary>
    public static TheoryData<string, string, bool> Kinds => new()
    {
        { "compat=v3,cluster_size=512", "600K", true },
        { "compat=0.10,cluster_size=1024", "1M", true },
        { "compat=v3,cluster_size=4096,refcount_bits=64", "4M", true },
        { "compat=v3,cluster_size=2048,refcount_bits=1", "2M", false },
        { "compat=v3,cluster_size=16384,extended_l2=on", "40M", true },
        { "compat=v3,cluster_size=65536,compression_type=zstd", "8M", true },
    };

    public void Dispose() => _folder.Dispose();

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task An_image_of_QEMUs_is_clean_and_its_figures_are_QEMUs(string options, string size, bool hasSnapshot)
    {
        string path = Make(options, size, hasSnapshot);

        ImageReport report = await CheckAsync(path, ImageRepair.None);

        Assert.Empty(report.Findings);
        Assert.True(report.IsClean);
        (int code, string json) = Qemu.TryImage("check", "-f", "qcow2", "--output=json", path);
        Assert.Equal(Clean, code);
        JsonElement theirs = JsonDocument.Parse(json).RootElement;
        Assert.Equal(Figure(theirs, "total-clusters"), report.TotalBlockCount);
        Assert.Equal(Figure(theirs, "allocated-clusters"), report.AllocatedBlockCount);
        Assert.Equal(Figure(theirs, "fragmented-clusters"), report.FragmentedBlockCount);
        Assert.Equal(Figure(theirs, "compressed-clusters"), report.CompressedBlockCount);
    }

    // Method: up to three metadata fields of an image are changed at random. Both checks must call it the same; after the
    // repair QEMU's must call it clean, and what the fields did not lead to must read as before.
    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task Damage_is_judged_as_QEMU_does_and_repaired_without_harm_to_the_rest(
        string options, string size, bool hasSnapshot)
    {
        Seeds seeds = Seeds.FromEnvironment();
        string path = Make(options, size, hasSnapshot);
        byte[] content = Qemu.Content(path);
        byte[] sound = await File.ReadAllBytesAsync(path);
        for (int round = 0; round < 20; round++)
        {
            DamagedImage damaged = new(sound);
            for (int i = 1 + seeds.Next(3); i > 0; i--)
            {
                damaged.Damage(seeds);
            }

            string story = $"{options}, round {round}, seed {seeds.Seed}: {damaged.Story}";
            await File.WriteAllBytesAsync(path, damaged.Bytes);
            (int theirs, string said) = Qemu.TryImage("check", "-f", "qcow2", path);
            (int ours, ImageReport? report) = await VerdictAsync(path);
            string both = $"theirs {theirs}, ours {ours}. {story}\n{said}\n{Describe(report)}";
            Assert.True(theirs == ours || (theirs == 1 && ours == Corrupt) || IsStricter(theirs, report), both);
            if (report is null)
            {
                continue;
            }

            report = await CheckAsync(path, ImageRepair.All);
            if (options.Contains("refcount_bits=1", StringComparison.Ordinal) && !report.IsClean)
            {
                continue;
            }

            Assert.True(report.IsClean, $"{both}\nafter the repair\n{Describe(report)}");
            (theirs, said) = Qemu.TryImage("check", "-f", "qcow2", path);
            Assert.True(theirs == Clean, $"after the repair {theirs}. {both}\n{said}\n{Describe(report)}");
            CheckContent(content, Qemu.ReadableContent(path), damaged, both);
        }
    }

    [Fact]
    public async Task A_zero_flag_in_version_2_is_damage_because_QEMU_refuses_to_read_it_although_its_check_does_not_look()
    {
        string path = Make("compat=0.10,cluster_size=1024", "1M", hasSnapshot: false);
        byte[] content = Qemu.Content(path);
        byte[] image = await File.ReadAllBytesAsync(path);
        int l1 = (int)BinaryPrimitives.ReadUInt64BigEndian(image.AsSpan(L1OffsetField));
        int l2 = (int)(BinaryPrimitives.ReadUInt64BigEndian(image.AsSpan(l1)) & EntryOffsetMask);
        image[l2 + sizeof(ulong) - 1] |= 1;
        await File.WriteAllBytesAsync(path, image);

        (int theirs, _) = Qemu.TryImage("check", "-f", "qcow2", path);
        (int theirRead, _) = Qemu.TryImage("convert", "-f", "qcow2", "-O", "raw", path, _folder.NewFile(".raw"));
        ImageReport report = await CheckAsync(path, ImageRepair.All);

        Assert.Equal(Clean, theirs);
        Assert.NotEqual(0, theirRead);
        ImageFinding finding = Assert.Single(report.Findings);
        Assert.Contains("has the zero flag, which version 2 does not know", finding.Message, StringComparison.Ordinal);
        Assert.True(finding.IsRepaired);
        Assert.Equal(content, Qemu.Content(path));
    }

    private static void CheckContent(byte[] before, byte[] after, DamagedImage damaged, string context)
    {
        Assert.Equal(before.Length, after.Length);
        for (int at = 0; at < before.Length; at += 512)
        {
            if (!damaged.Suffers(at) && !before.AsSpan(at, 512).SequenceEqual(after.AsSpan(at, 512)))
            {
                Assert.Fail($"the disk differs at {at}, to which no damaged field led. {context}");
            }
        }
    }

    // QEMU's check looks at none of these. It finds an entry that leads to a table by the refcount alone, which may be damaged as well.
    private static readonly string[] FoundHereAlone =
        ["has flags and no offset", "has the zero flag", "points at a table of the image's own"];

    private static bool IsStricter(int theirs, ImageReport? report) =>
        theirs is Clean or Leaking
        && report?.Findings.Any(finding =>
            Array.Exists(FoundHereAlone, fault => finding.Message.Contains(fault, StringComparison.Ordinal))) == true;

    private static long Figure(JsonElement figures, string name) =>
        figures.TryGetProperty(name, out JsonElement value) ? value.GetInt64() : 0;

    private static string Describe(ImageReport? report) => report is null
        ? "refused"
        : string.Join('\n', report.Findings.Take(12).Select(finding => $"{finding.Kind} {finding.Message} {finding.IsRepaired}"));

    private static async Task<ImageReport> CheckAsync(string path, ImageRepair repair) =>
        await Image.CheckAsync(path, ImageFormat.Qcow2, repair, CancellationToken.None);

    private static async Task<(int Verdict, ImageReport? Report)> VerdictAsync(string path)
    {
        try
        {
            ImageReport report = await CheckAsync(path, ImageRepair.None);
            return (report.CorruptionCount != 0 ? Corrupt : report.LeakCount != 0 ? Leaking : Clean, report);
        }
        catch (BlockException refusal) when (refusal.Kind is ImageErrors.Corrupt or BlockErrors.Unsupported)
        {
            return (1, null);
        }
    }

    private string Make(string options, string size, bool hasSnapshot)
    {
        Qemu.SkipWhenMissing();
        string path = _folder.NewFile(".qcow2");
        Qemu.Image("create", "-q", "-f", "qcow2", "-o", options, path, size);
        Qemu.Io(path, "write -P 17 0 100K", "write -P 34 200K 60K", "write -z 300K 40K", "write -c -P 51 384K 64K");
        if (hasSnapshot)
        {
            Qemu.Image("snapshot", "-c", "first", path);
            Qemu.Io(path, "write -P 68 50K 30K", "discard 210K 20K", "write -P 85 500K 20K");
        }

        if (options.Contains("v3", StringComparison.Ordinal))
        {
            Qemu.Image("bitmap", "--add", "-g", "4096", path, "kept");
            Qemu.Io(path, "write -P 102 520K 10K");
        }

        return path;
    }
}
