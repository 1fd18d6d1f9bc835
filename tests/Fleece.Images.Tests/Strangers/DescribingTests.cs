// SPDX-License-Identifier: MIT
using Fleece.Images.Checking;
using Fleece.Images.Qcow2;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Strangers;

/// <summary>Describing and checking an image leave the files alone that it names.</summary>
[Collection(nameof(DescribingTests))]
[CollectionDefinition(nameof(DescribingTests), DisableParallelization = true)]
public sealed class DescribingTests : IDisposable
{
    private readonly StrangersFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("parent.raw", "qcow2")]
    [InlineData("parent.qcow2", "qcow2")]
    [InlineData("parent.vhd", "vhd")]
    [InlineData("parent.vhdx", "vhdx")]
    public async Task No_call_of_the_system_touches_a_parent_elsewhere(string parentName, string extension)
    {
        string parent = Path.Combine(_folder.Elsewhere, parentName);
        string child = _folder.Upload($"child.{extension}");
        await Image.CreateAsync(
            parent, new ImageCreateOptions { Format = Image.FormatForNewFile(parent), SizeBytes = StrangersFolder.DiskBytes });
        await Image.CreateAsync(child, new ImageCreateOptions { Format = Image.FormatForNewFile(child), ParentPath = parent });

        await TouchesNothingElsewhereAsync(child);

        Assert.Equal(parent, (await Image.GetInfoAsync(child, null, CancellationToken.None)).ParentPath);
    }

    [Fact]
    public async Task No_call_of_the_system_touches_a_data_file()
    {
        string path = _folder.Upload("evil.qcow2");
        File.WriteAllBytes(
            path, Images.Empty(new Qcow2LayoutOptions { SizeBytes = StrangersFolder.DiskBytes, DataFileName = _folder.Victim }));

        await TouchesNothingElsewhereAsync(path);

        Assert.Equal(_folder.Victim, (await Image.GetInfoAsync(path, null, CancellationToken.None)).DataFilePath);
    }

    [Fact]
    public async Task A_parent_that_is_a_pipe_beside_the_image_is_told_and_not_waited_for()
    {
        Qemu.SkipWhenMissing();
        string pipe = _folder.Upload("base.raw");
        _ = await Peer.RunAsync("mkfifo", pipe);
        string path = _folder.Upload("evil.qcow2");
        Qemu.Image("create", "-q", "-u", "-f", "qcow2", "-b", "base.raw", "-F", "raw", path, $"{StrangersFolder.DiskBytes}");

        Assert.Equal(pipe, (await Image.GetInfoAsync(path, null, CancellationToken.None)).ParentPath);
    }

    private async Task TouchesNothingElsewhereAsync(string path)
    {
        string[] calls = await SystemCalls.WatchAsync(_folder.Root, "%file", async () =>
        {
            _ = await Image.GetInfoAsync(path, null, CancellationToken.None);
            _ = await Image.GetInfoAsync(path, null, CancellationToken.None, UntrustedLimits.Default);
            _ = await Image.CheckAsync(path, null, ImageRepair.None, CancellationToken.None, UntrustedLimits.Default);
            _ = await Image.CheckAsync(path, null, ImageRepair.All, CancellationToken.None);
        });

        Assert.NotEqual(-1, SystemCalls.Find(calls, "openat", path));
        Assert.DoesNotContain(calls, call => call.Contains(_folder.Elsewhere, StringComparison.Ordinal));
    }
}
