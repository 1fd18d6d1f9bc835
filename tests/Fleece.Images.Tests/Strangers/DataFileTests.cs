// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Qcow2;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Strangers;

/// <summary>Data files that qcow2 images name, with the images that QEMU makes.</summary>
public sealed class DataFileTests : IDisposable
{
    private readonly StrangersFolder _folder = new();

    private string EvilPath => _folder.Upload("evil.qcow2");

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task One_in_another_folder_is_refused_and_left_as_it_was(bool isReadOnly)
    {
        MakeWithQemu(EvilPath, _folder.Victim);

        BlockException refusal = await FailsAsync(ImageErrors.ReferenceRefused, new ImageOpenOptions { IsReadOnly = isReadOnly });

        Assert.Contains(_folder.Victim, refusal.Message, StringComparison.Ordinal);
        Assert.Contains("-AllowOutsideDataFile", refusal.Message, StringComparison.Ordinal);
        _folder.CheckVictim();
    }

    [Fact]
    public async Task One_in_another_folder_is_used_when_the_caller_allows_it()
    {
        MakeWithQemu(EvilPath, _folder.Victim);
        ImageFiles files = new();

        (IBlockNode node, _) = await Image.OpenAsync(EvilPath, new ImageOpenOptions { AllowsOutsideDataFile = true, Files = files });
        await using (node)
        {
            await node.WriteAsync(0, new byte[512], WriteFlags.None, CancellationToken.None);
        }

        Assert.Equal([_folder.Victim], files.Outside);
        Assert.Equal(0, File.ReadAllBytes(_folder.Victim)[0]);
    }

    [Theory]
    [InlineData("data.raw")]
    [InlineData("below/data.raw")]
    public async Task One_beside_or_below_the_image_is_used(string name)
    {
        string data = _folder.Upload(name);
        Directory.CreateDirectory(Path.GetDirectoryName(data)!);
        MakeWithQemu(EvilPath, data);
        ImageFiles files = new();

        (IBlockNode node, _) = await Image.OpenAsync(EvilPath, new ImageOpenOptions { Files = files });
        await using (node)
        {
            await node.WriteAsync(0, new byte[] { 7 }, WriteFlags.None, CancellationToken.None);
        }

        Assert.Equal(7, File.ReadAllBytes(data)[0]);
        Assert.Empty(files.Outside);
    }

    [Fact]
    public async Task A_link_beside_the_image_counts_by_where_it_leads()
    {
        string link = _folder.Upload("data.raw");
        File.CreateSymbolicLink(link, _folder.Victim);
        MakeWithQemu(EvilPath, link);
        _ = await FailsAsync(ImageErrors.ReferenceRefused, new ImageOpenOptions());

        StrangersFolder.Fill(_folder.Upload("real.raw"));
        File.Delete(link);
        File.CreateSymbolicLink(link, "real.raw");
        (IBlockNode node, _) = await Image.OpenAsync(EvilPath);
        await node.DisposeAsync();
    }

    [Fact]
    public async Task A_linked_folder_below_the_image_counts_by_where_it_leads()
    {
        Directory.CreateSymbolicLink(_folder.Upload("below"), _folder.Elsewhere);
        MakeWithQemu(EvilPath, _folder.Upload("below/victim"));

        _ = await FailsAsync(ImageErrors.ReferenceRefused, new ImageOpenOptions());

        _folder.CheckVictim();
    }

    // A link to the image says where the user likes to find it; the files beside the link are the user's own.
    [Fact]
    public async Task Beside_a_link_to_the_image_is_not_beside_the_image()
    {
        MakeWithQemu(EvilPath, _folder.Victim);
        string link = Path.Combine(_folder.Elsewhere, "link.qcow2");
        File.CreateSymbolicLink(link, EvilPath);

        _ = await Images.FailsAsync(ImageErrors.ReferenceRefused, async () => await Image.OpenAsync(link));

        string ownData = _folder.Upload("own.raw");
        MakeWithQemu(EvilPath, ownData);
        (IBlockNode node, _) = await Image.OpenAsync(link);
        await node.DisposeAsync();
    }

    [Theory]
    [InlineData("/dev/zero")]
    [InlineData("/proc/self/mem")]
    [InlineData("/sys/kernel/profiling")]
    public async Task One_that_the_system_makes_is_refused(string path)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The paths are those of Linux.");
        MakeNaming(EvilPath, path);

        _ = await FailsAsync(ImageErrors.ReferenceRefused, new ImageOpenOptions());
    }

    [Fact]
    public async Task A_device_is_no_data_file_even_where_the_caller_allows_one_outside()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The path is that of Linux.");
        MakeNaming(EvilPath, "/dev/zero");

        _ = await FailsAsync(BlockErrors.NotAFile, new ImageOpenOptions { AllowsOutsideDataFile = true });
    }

    [Fact]
    public async Task A_pipe_beside_the_image_is_refused_without_waiting_for_its_other_end()
    {
        string pipe = _folder.Upload("data.raw");
        _ = await Peer.RunAsync("mkfifo", pipe);
        MakeNaming(EvilPath, pipe);

        _ = await FailsAsync(BlockErrors.NotAFile, new ImageOpenOptions());
    }

    // The text of the link is a path in the image's folder, and the file that it leads to has no path any more.
    [Fact]
    public async Task A_link_of_the_system_whose_text_is_not_where_it_leads_is_outside()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The links are those of Linux.");
        string data = _folder.Upload("data.raw");
        using FileStream removed = new(data, FileMode.Create);
        File.Delete(data);
        MakeNaming(EvilPath, $"/proc/self/fd/{removed.SafeFileHandle.DangerousGetHandle()}");

        _ = await FailsAsync(ImageErrors.ReferenceRefused, new ImageOpenOptions());
    }

    [Fact]
    public async Task That_of_a_parent_is_judged_by_the_parents_folder()
    {
        string parent = Path.Combine(_folder.Elsewhere, "parent.qcow2");
        MakeWithQemu(parent, _folder.Victim);
        MakeOverlay(EvilPath, parent);
        await using (IBlockNode node = await StrangersFolder.OpenAsync(EvilPath))
        {
        }

        string far = _folder.Root.File("far.raw");
        StrangersFolder.Fill(far);
        MakeWithQemu(parent, far);
        _ = await FailsAsync(ImageErrors.ReferenceRefused, new ImageOpenOptions { IsReadOnly = true });
        (IBlockNode allowed, _) = await Image.OpenAsync(
            EvilPath, new ImageOpenOptions { IsReadOnly = true, AllowsOutsideDataFile = true });
        await allowed.DisposeAsync();
    }

    [Fact]
    public async Task A_new_image_over_a_parent_whose_data_file_lies_elsewhere_needs_the_callers_word()
    {
        MakeWithQemu(EvilPath, _folder.Victim);
        string child = _folder.Upload("child.qcow2");
        ImageCreateOptions options = new() { Format = ImageFormat.Qcow2, ParentPath = EvilPath };

        _ = await Images.FailsAsync(ImageErrors.ReferenceRefused, async () => await Image.CreateAsync(child, options));
        Assert.False(File.Exists(child));

        await Image.CreateAsync(child, options with { AllowsOutsideDataFile = true });
    }

    [Fact]
    public async Task An_untrusted_image_has_none_wherever_it_lies()
    {
        MakeWithQemu(EvilPath, _folder.Upload("data.raw"));

        _ = await StrangersFolder.RefusesAsync(ImageErrors.ReferenceRefused, EvilPath);

        BlockException contradiction = await FailsAsync(
            BlockErrors.InvalidArgument,
            new ImageOpenOptions { Untrusted = UntrustedLimits.Default, AllowsOutsideDataFile = true });
        Assert.Contains("-AllowOutsideDataFile", contradiction.Message, StringComparison.Ordinal);
    }

    private Task<BlockException> FailsAsync(string kind, ImageOpenOptions options) =>
        Images.FailsAsync(kind, async () => await Image.OpenAsync(EvilPath, options));

    // QEMU empties the data file of a new image, so it is filled afterwards; then QEMU must find nothing wrong with the image.
    private static void MakeWithQemu(string path, string dataPath)
    {
        Qemu.SkipWhenMissing();
        File.Delete(path);
        Qemu.Image("create", "-q", "-f", "qcow2", "-o", $"data_file={dataPath},data_file_raw=on", path, $"{StrangersFolder.DiskBytes}");
        StrangersFolder.Fill(dataPath);
        Qemu.CheckClean(path);
    }

    private static void MakeOverlay(string path, string parentPath) =>
        Qemu.Image("create", "-q", "-f", "qcow2", "-b", parentPath, "-F", "qcow2", path);

    private static void MakeNaming(string path, string dataPath) =>
        File.WriteAllBytes(path, Images.Empty(new Qcow2LayoutOptions { SizeBytes = StrangersFolder.DiskBytes, DataFileName = dataPath }));
}
