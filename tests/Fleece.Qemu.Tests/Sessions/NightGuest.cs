// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Nodes;
using Fleece.Qemu.Qmp;
using Fleece.Qemu.Tests.Qmp;
using Fleece.TestKit;

namespace Fleece.Qemu.Tests.Sessions;

/// <summary>A guest whose disk is a model as well: what is written goes to both. Its QEMU can be ended, killed and started again.</summary>
internal sealed class NightGuest : IAsyncDisposable
{
    public const int SizeBytes = 8 * 1024 * 1024;
    public const string Device = "virtio0";

    private const string Backend = $"/machine/peripheral/{Device}/virtio-backend";

    private readonly TempFolder _folder = new();
    private readonly string _program;
    private Process? _process;

    private NightGuest(string program, string format)
    {
        _program = program;
        Format = format;
    }

    /// <summary>Debian 12's QEMU from PATH, and the one that QEMU10_SYSTEM names.</summary>
    public static TheoryData<string> Programs => ["qemu-system-x86_64", "$QEMU10_SYSTEM"];

    /// <summary>What the disk holds.</summary>
    public byte[] Model { get; } = new byte[SizeBytes];

    public string Format { get; }

    public string SocketPath => _folder.File("qmp");

    public string ImagePath => _folder.File("disk");

    public string SecondPath => _folder.File("second");

    public string Folder => _folder.Path;

    /// <summary>Starts QEMU; skips the test where the program is missing.</summary>
    /// <param name="program">QEMU, or the variable that names it.</param>
    /// <param name="format">"qcow2", which keeps bitmaps, or "raw".</param>
    public static async Task<NightGuest> StartAsync(string program, string format = "qcow2")
    {
        if (program.StartsWith('$'))
        {
            string? named = Environment.GetEnvironmentVariable(program[1..]);
            Assert.SkipWhen(string.IsNullOrEmpty(named), $"{program} names no other QEMU");
            program = named!;
        }

        Peer.Need(program, "qemu-img");
        NightGuest guest = new(program, format);
        foreach (string path in new[] { guest.ImagePath, guest.SecondPath })
        {
            await Peer.RunAsync("qemu-img", "create", "-q", "-f", format, path, $"{SizeBytes}");
        }

        await guest.BootAsync();
        return guest;
    }

    /// <summary>Starts a QEMU, whose guest runs nothing but its firmware.</summary>
    public async Task BootAsync()
    {
        File.Delete(SocketPath);
        _process = Peer.Start(
            _program,
            "-nodefaults", "-display", "none", "-machine", "q35", "-m", "32", "-name", "web",
            "-qmp", $"unix:{SocketPath},server=on,wait=off",
            "-blockdev", $"driver={Format},node-name=one,discard=unmap,file.driver=file,file.filename={ImagePath}",
            "-blockdev", $"driver={Format},node-name=two,discard=unmap,file.driver=file,file.filename={SecondPath}",
            "-device", $"virtio-blk-pci,drive=one,id={Device}",
            "-device", "virtio-blk-pci,drive=two,id=virtio1");
        _ = _process.StandardOutput.ReadToEndAsync();
        _ = _process.StandardError.ReadToEndAsync();
        await (await Guest.ConnectAsync(_process, SocketPath)).DisposeAsync();
    }

    /// <summary>Ends QEMU as an administrator does, so that images keep their bitmaps.</summary>
    public async Task QuitAsync()
    {
        await AskAsync("quit", null);
        await _process!.WaitForExitAsync(TestContext.Current.CancellationToken);
    }

    /// <summary>Kills QEMU when all that the guest has written is on the disk, so that the image has the model's bytes.</summary>
    public async Task KillAsync()
    {
        await IoAsync("flush");
        _process!.Kill();
        await _process.WaitForExitAsync(TestContext.Current.CancellationToken);
    }

    /// <summary>The guest writes a byte over a range.</summary>
    public async Task WriteAsync(long offsetBytes, int lengthBytes, byte value)
    {
        await IoAsync(value == 0 ? $"write -z {offsetBytes} {lengthBytes}" : $"write -P {value} {offsetBytes} {lengthBytes}");
        Model.AsSpan((int)offsetBytes, lengthBytes).Fill(value);
    }

    /// <summary>Some writes of random ranges.</summary>
    public async Task WriteSomeAsync(Seeds seeds, int count)
    {
        for (int i = 0; i < count; i++)
        {
            int lengthBytes = 512 * (1 + seeds.Next(400));
            long offsetBytes = 512 * seeds.Next((SizeBytes - lengthBytes) / 512 + 1L);
            await WriteAsync(offsetBytes, lengthBytes, (byte)seeds.Next(256));
        }
    }

    /// <summary>The bytes of the image of a QEMU that has ended.</summary>
    public async Task<byte[]> ReadImageAsync()
    {
        string copy = _folder.File("copy");
        await Peer.RunAsync("qemu-img", "convert", "-f", Format, "-O", "raw", ImagePath, copy);
        return await File.ReadAllBytesAsync(copy, TestContext.Current.CancellationToken);
    }

    /// <summary>Runs a command.</summary>
    public async Task<JsonElement> AskAsync(string command, JsonObject? arguments)
    {
        await using QmpConnection connection =
            await QmpConnection.ConnectAsync(SocketPath, QmpOptions.Default, TestContext.Current.CancellationToken);
        return await connection.ExecuteAsync(command, arguments, TestContext.Current.CancellationToken);
    }

    /// <summary>The names of what sessions have in QEMU, and the files that they have beside the image.</summary>
    public async Task<string[]> FindOwnAsync()
    {
        JsonElement nodes = await AskAsync("query-named-block-nodes", new JsonObject { ["flat"] = true });
        return
        [
            .. nodes.EnumerateArray().Select(node => node.GetProperty("node-name").GetString()!)
                .Where(name => name.StartsWith("fleece-", StringComparison.Ordinal)),
            .. Directory.GetFileSystemEntries(Folder, "*fleece*").Select(path => Path.GetFileName(path)),
        ];
    }

    /// <summary>QEMU's names of the disk's bitmaps.</summary>
    public async Task<string[]> FindBitmapsAsync()
    {
        JsonElement nodes = await AskAsync("query-named-block-nodes", new JsonObject { ["flat"] = true });
        JsonElement one = nodes.EnumerateArray().Single(node => node.GetProperty("node-name").GetString() == "one");
        return one.TryGetProperty("dirty-bitmaps", out JsonElement bitmaps)
            ? [.. bitmaps.EnumerateArray().Select(bitmap => bitmap.GetProperty("name").GetString()!)]
            : [];
    }

    /// <summary>Changes bitmaps as another client of the monitor does.</summary>
    public Task ChangeBitmapAsync(string command, string name, bool isPersistent = false) => AskAsync(
        command,
        command == "block-dirty-bitmap-add"
            ? new JsonObject { ["node"] = "one", ["name"] = name, ["persistent"] = isPersistent }
            : new JsonObject { ["node"] = "one", ["name"] = name });

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (_process is { HasExited: false })
        {
            _process.Kill(entireProcessTree: true);
            await _process.WaitForExitAsync(CancellationToken.None);
        }

        _process?.Dispose();
        _folder.Dispose();
    }

    private async Task IoAsync(string command)
    {
        JsonElement answer = await AskAsync(
            "human-monitor-command", new JsonObject { ["command-line"] = $"qemu-io -d {Backend} \"{command}\"" });
        Assert.Equal(string.Empty, answer.GetString());
    }
}
