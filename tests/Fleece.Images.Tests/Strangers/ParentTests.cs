// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Strangers;

/// <summary>Parents that images name in other folders.</summary>
[Collection(nameof(ParentTests))]
[CollectionDefinition(nameof(ParentTests), DisableParallelization = true)]
public sealed class ParentTests : IDisposable
{
    private readonly StrangersFolder _folder = new();

    private string EvilPath => _folder.Upload("evil.qcow2");

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("{0}")]
    [InlineData("../elsewhere/victim")]
    [InlineData("file:{0}")]
    [InlineData("json:{{\"driver\":\"raw\",\"file\":{{\"driver\":\"file\",\"filename\":\"{0}\"}}}}")]
    public async Task A_raw_one_is_read_and_listed_and_refused_where_the_image_is_untrusted(string form)
    {
        Qemu.SkipWhenMissing();
        MakeOverlay(EvilPath, string.Format(System.Globalization.CultureInfo.InvariantCulture, form, _folder.Victim), "raw");
        ImageFiles files = new();

        await using (IBlockNode node = await StrangersFolder.OpenAsync(EvilPath, files))
        {
            Assert.True(await StrangersFolder.ShowsVictimAsync(node));
        }

        Assert.Equal([_folder.Victim], files.Outside);
        Assert.Contains($"'{_folder.Victim}'", files.OutsideNote, StringComparison.Ordinal);
        Assert.Contains("-Untrusted", files.OutsideNote, StringComparison.Ordinal);
        BlockException refusal = await StrangersFolder.RefusesAsync(ImageErrors.ReferenceRefused, EvilPath);
        Assert.Contains(_folder.Victim, refusal.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(ImageFormat.Vhd)]
    [InlineData(ImageFormat.Vhdx)]
    public async Task A_differencing_image_names_one_by_its_locators(ImageFormat format)
    {
        (string child, string parent) = await MakeDifferencingAsync(format);
        ImageFiles files = new();

        await using (IBlockNode node = await StrangersFolder.OpenAsync(child, files))
        {
        }

        Assert.Equal([parent], files.Outside);
        BlockException refusal = await StrangersFolder.RefusesAsync(ImageErrors.ReferenceRefused, child);
        Assert.Contains(parent, refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_untrusted_image_takes_the_candidate_beside_it_and_does_not_look_at_others()
    {
        (string child, string parent) = await MakeDifferencingAsync(ImageFormat.Vhd);
        File.Copy(parent, _folder.Upload("parent.vhd"));

        string[] calls = await SystemCalls.WatchAsync(_folder.Root, "%file", async () =>
        {
            await using IBlockNode node = await StrangersFolder.OpenAsync(child, untrusted: UntrustedLimits.Default);
        });

        Assert.NotEqual(-1, SystemCalls.Find(calls, "openat", _folder.Upload("parent.vhd")));
        Assert.Equal(-1, SystemCalls.Find(calls, "open", parent));
    }

    [Fact]
    public async Task The_chain_of_an_untrusted_image_stays_in_the_folder_of_the_image_that_the_user_named()
    {
        Qemu.SkipWhenMissing();
        string below = Directory.CreateDirectory(_folder.Upload("below")).FullName;
        string middle = Path.Combine(below, "middle.qcow2");
        StrangersFolder.Fill(_folder.Upload("base.raw"));
        MakeOverlay(middle, "../base.raw", "raw");
        MakeOverlay(EvilPath, "below/middle.qcow2", "qcow2");

        await using (IBlockNode node = await StrangersFolder.OpenAsync(EvilPath, untrusted: UntrustedLimits.Default))
        {
            Assert.True(await StrangersFolder.ShowsVictimAsync(node));
        }

        _ = await StrangersFolder.RefusesAsync(ImageErrors.ReferenceRefused, middle);
        MakeOverlay(middle, _folder.Victim, "raw");
        BlockException refusal = await StrangersFolder.RefusesAsync(ImageErrors.ReferenceRefused, EvilPath);
        Assert.Contains(middle, refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task All_of_a_chain_are_listed_each_once()
    {
        Qemu.SkipWhenMissing();
        string template = Path.Combine(_folder.Elsewhere, "template.qcow2");
        MakeOverlay(template, "victim", "raw");
        MakeOverlay(EvilPath, template, "qcow2");
        ImageFiles files = new();

        await using IBlockNode node = await StrangersFolder.OpenAsync(EvilPath, files);

        Assert.Equal([template, _folder.Victim], files.Outside);
    }

    [Fact]
    public async Task A_link_beside_the_image_counts_by_where_it_leads()
    {
        Qemu.SkipWhenMissing();
        string link = _folder.Upload("base.raw");
        File.CreateSymbolicLink(link, "../elsewhere/victim");
        MakeOverlay(EvilPath, "base.raw", "raw");
        ImageFiles files = new();

        await using (IBlockNode node = await StrangersFolder.OpenAsync(EvilPath, files))
        {
        }

        Assert.Equal([link], files.Outside);
        _ = await StrangersFolder.RefusesAsync(ImageErrors.ReferenceRefused, EvilPath);
    }

    [Fact]
    public async Task A_folder_that_the_user_reaches_through_a_link_is_the_images_own()
    {
        Qemu.SkipWhenMissing();
        string linked = Path.Combine(_folder.Elsewhere, "linked");
        Directory.CreateSymbolicLink(linked, _folder.Uploads);
        StrangersFolder.Fill(_folder.Upload("base.raw"));
        MakeOverlay(EvilPath, _folder.Upload("base.raw"), "raw");

        await using IBlockNode node = await StrangersFolder.OpenAsync(
            Path.Combine(linked, "evil.qcow2"), untrusted: UntrustedLimits.Default);

        Assert.True(await StrangersFolder.ShowsVictimAsync(node));
    }

    [Fact]
    public async Task A_folder_whose_name_begins_like_that_of_the_image_is_another()
    {
        Qemu.SkipWhenMissing();
        string other = Directory.CreateDirectory(_folder.Uploads + "-private").FullName;
        StrangersFolder.Fill(Path.Combine(other, "base.raw"));
        MakeOverlay(EvilPath, Path.Combine(other, "base.raw"), "raw");

        _ = await StrangersFolder.RefusesAsync(ImageErrors.ReferenceRefused, EvilPath);
    }

    [Fact]
    public async Task A_pipe_is_refused_without_waiting_for_its_other_end()
    {
        Qemu.SkipWhenMissing();
        _ = await Peer.RunAsync("mkfifo", _folder.Upload("pipe"));
        _ = await Peer.RunAsync("mkfifo", Path.Combine(_folder.Elsewhere, "pipe"));
        MakeOverlay(EvilPath, "pipe", "raw");
        _ = await Images.FailsAsync(BlockErrors.NotAFile, async () => await StrangersFolder.OpenAsync(EvilPath));
        _ = await StrangersFolder.RefusesAsync(BlockErrors.NotAFile, EvilPath);

        MakeOverlay(EvilPath, "../elsewhere/pipe", "raw");
        _ = await Images.FailsAsync(BlockErrors.NotAFile, async () => await StrangersFolder.OpenAsync(EvilPath));
        _ = await StrangersFolder.RefusesAsync(ImageErrors.ReferenceRefused, EvilPath);
    }

    // An archive can hold a link as well as an image.
    [Fact]
    public async Task An_untrusted_image_is_not_itself_a_link_to_another_folder()
    {
        string link = _folder.Upload("disk.raw");
        File.CreateSymbolicLink(link, _folder.Victim);

        _ = await StrangersFolder.RefusesAsync(ImageErrors.ReferenceRefused, link);
        _ = await Images.FailsAsync(
            ImageErrors.ReferenceRefused,
            async () => await Image.GetInfoAsync(link, null, CancellationToken.None, UntrustedLimits.Default));

        await using IBlockNode node = await StrangersFolder.OpenAsync(link);
        Assert.True(await StrangersFolder.ShowsVictimAsync(node));
    }

    private async Task<(string Child, string Parent)> MakeDifferencingAsync(ImageFormat format)
    {
        string extension = format.ToString().ToLowerInvariant();
        string parent = Path.Combine(_folder.Elsewhere, $"parent.{extension}");
        string child = _folder.Upload($"child.{extension}");
        await Image.CreateAsync(parent, new ImageCreateOptions { Format = format, SizeBytes = StrangersFolder.DiskBytes });
        await Image.CreateAsync(child, new ImageCreateOptions { Format = format, ParentPath = parent });
        return (child, parent);
    }

    // QEMU's check opens the chain, and would wait for the other end of a pipe.
    private static void MakeOverlay(string path, string backingName, string format)
    {
        File.Delete(path);
        Qemu.Image(
            "create", "-q", "-u", "-f", "qcow2", "-b", backingName, "-F", format, path, $"{StrangersFolder.DiskBytes}");
        if (!backingName.EndsWith("pipe", StringComparison.Ordinal))
        {
            Qemu.CheckClean(path);
        }
    }
}
