// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using Fleece.Block.Files;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.Files;

/// <summary>Locks against the real qemu-img, qemu-io and qemu-nbd, both ways, on raw and on qcow2 images.</summary>
public sealed class QemuLockTests : IDisposable
{
    private const string Raw = "raw";
    private const string Qcow2 = "qcow2";

    private readonly TempFolder _folder = new();

    public QemuLockTests()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "These locks are those of Linux.");
        Peer.Need("qemu-img", "qemu-io", "qemu-nbd");
    }

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(Raw)]
    [InlineData(Qcow2)]
    public async Task Qemu_can_not_write_what_Fleece_writes(string format)
    {
        string path = await NewImageAsync(format);
        using LocalFile file = LocalFile.Open(path, isReadOnly: false);

        await CheckRefusedAsync("qemu-io", "-f", format, "-c", "write 0 512", path);
        await CheckRefusedAsync("qemu-img", "resize", "-f", format, path, "+1M");
        await CheckRefusedAsync("qemu-nbd", "-f", format, "-k", _folder.File("socket"), path);
    }

    [Theory]
    [InlineData(Raw)]
    [InlineData(Qcow2)]
    public async Task Qemu_can_not_read_what_Fleece_writes_not_even_with_force_share(string format)
    {
        string path = await NewImageAsync(format);
        string copy = _folder.NewFile();
        using LocalFile file = LocalFile.Open(path, isReadOnly: false);

        await CheckRefusedAsync("qemu-img", "convert", "-f", format, "-O", Raw, path, copy);
        await CheckRefusedAsync("qemu-img", "convert", "-U", "-f", format, "-O", Raw, path, copy);
        await CheckRefusedAsync("qemu-nbd", "-r", "-f", format, "-k", _folder.File("socket"), path);
    }

    [Theory]
    [InlineData(Raw)]
    [InlineData(Qcow2)]
    public async Task Qemu_can_read_and_not_write_what_Fleece_reads(string format)
    {
        string path = await NewImageAsync(format);
        using LocalFile file = LocalFile.Open(path, isReadOnly: true);

        await Peer.RunAsync("qemu-img", "convert", "-f", format, "-O", Raw, path, _folder.NewFile());
        await CheckRefusedAsync("qemu-io", "-f", format, "-c", "write 0 512", path);
    }

    [Fact]
    public async Task Qemu_can_not_write_a_file_that_Fleece_has_just_made()
    {
        string path = _folder.NewFile();
        await using FileNode node = FileNode.Create(path, 1024 * 1024);

        await CheckRefusedAsync("qemu-io", "-f", Raw, "-c", "write 0 512", path);
    }

    [Theory]
    [InlineData(Raw)]
    [InlineData(Qcow2)]
    public async Task Qemu_can_write_when_Fleece_has_closed_the_image(string format)
    {
        string path = await NewImageAsync(format);
        LocalFile.Open(path, isReadOnly: false).Dispose();

        await Peer.RunAsync("qemu-io", "-f", format, "-c", "write 0 512", path);
    }

    [Theory]
    [InlineData(Raw)]
    [InlineData(Qcow2)]
    public async Task Fleece_can_not_write_what_qemu_writes_and_says_who_it_is(string format)
    {
        string path = await NewImageAsync(format);
        using Process holder = await HoldAsync("-f", format, path);

        BlockException error = Refusals.Throws(BlockErrors.InUse, () => LocalFile.Open(path, isReadOnly: false));

        Assert.Equal($"Cannot open '{path}': qemu-io (process {holder.Id}) holds it. Close that first.", error.Message);
        await EndAsync(holder);
        LocalFile.Open(path, isReadOnly: false).Dispose();
    }

    [Theory]
    [InlineData(Raw)]
    [InlineData(Qcow2)]
    public async Task Fleece_can_not_read_what_qemu_writes_because_the_content_can_not_be_trusted(string format)
    {
        string path = await NewImageAsync(format);
        using Process holder = await HoldAsync("-f", format, path);

        BlockException error = Refusals.Throws(BlockErrors.InUse, () => LocalFile.Open(path, isReadOnly: true));

        Assert.StartsWith(
            $"Cannot open '{path}': qemu-io (process {holder.Id}) has it open for writing, so its content can't be trusted.",
            error.Message,
            StringComparison.Ordinal);
        await EndAsync(holder);
        LocalFile.Open(path, isReadOnly: true).Dispose();
    }

    [Theory]
    [InlineData(Raw)]
    [InlineData(Qcow2)]
    public async Task Fleece_can_read_and_not_write_what_qemu_reads(string format)
    {
        string path = await NewImageAsync(format);
        using Process holder = await HoldAsync("-r", "-f", format, path);

        LocalFile.Open(path, isReadOnly: true).Dispose();
        Refusals.Throws(BlockErrors.InUse, () => LocalFile.Open(path, isReadOnly: false));
        await EndAsync(holder);
    }

    [Fact]
    public async Task Fleece_can_not_open_what_qemu_nbd_serves()
    {
        string path = await NewImageAsync(Qcow2);
        string pidFile = _folder.File("pid");
        await Peer.RunAsync(
            "qemu-nbd", "--fork", "--persistent", "--pid-file", pidFile, "-f", Qcow2, "-k", _folder.File("socket"), path);
        using Process server = Process.GetProcessById(
            int.Parse(await File.ReadAllTextAsync(pidFile), NumberStyles.AllowTrailingWhite, CultureInfo.InvariantCulture));

        BlockException error;
        try
        {
            Refusals.Throws(BlockErrors.InUse, () => LocalFile.Open(path, isReadOnly: true));
            error = Refusals.Throws(BlockErrors.InUse, () => LocalFile.Open(path, isReadOnly: false));
        }
        finally
        {
            server.Kill();
            await server.WaitForExitAsync();
        }

        Assert.Contains($"qemu-nbd (process {server.Id}) holds it", error.Message, StringComparison.Ordinal);
    }

    private async Task<string> NewImageAsync(string format)
    {
        string path = _folder.NewFile();
        await Peer.RunAsync("qemu-img", "create", "-q", "-f", format, path, "1M");
        return path;
    }

    // It has its locks before it answers its first command.
    private static async Task<Process> HoldAsync(params string[] arguments)
    {
        Process process = Peer.Start("qemu-io", arguments);
        await process.StandardInput.WriteLineAsync("length");
        await process.StandardInput.FlushAsync();
        Assert.Contains("1 MiB", await process.StandardOutput.ReadLineAsync(), StringComparison.Ordinal);
        return process;
    }

    private static async Task EndAsync(Process holder)
    {
        holder.StandardInput.Close();
        await holder.WaitForExitAsync();
    }

    private static async Task CheckRefusedAsync(string program, params string[] arguments)
    {
        PeerResult result = await Peer.TryRunAsync(program, arguments);
        Assert.NotEqual(0, result.ExitCode);
        Assert.Matches("Failed to get (shared )?\"(write|consistent read)\" lock", result.Output);
    }
}
