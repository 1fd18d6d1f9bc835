// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using Fleece.TestKit;

namespace Fleece.Peers.Tests;

/// <summary>fio as a guest: it writes random blocks over one NBD connection.</summary>
internal static class Fio
{
    /// <summary>Overwrites the disk until it is ended.</summary>
    public static Process StartEndless(ServedDisk served) =>
        Start(served, served.Disk.SizeBytes, "--iodepth=8", "--loops=1000000", "--refill_buffers");

    /// <summary>Overwrites a number of bytes several times over and reads back what it wrote, all the while and at the end.</summary>
    public static Process StartVerifying(ServedDisk served, long sizeBytes, int loops) =>
        Start(
            served,
            sizeBytes,
            "--iodepth=8",
            string.Create(CultureInfo.InvariantCulture, $"--loops={loops}"),
            "--verify=crc32c",
            "--verify_fatal=1",
            "--verify_backlog=256",
            "--fsync=64");

    /// <summary>Waits until it ends by itself; what it wrote must have been there.</summary>
    public static async Task AssertVerifiedAsync(Process fio)
    {
        Task<string> error = fio.StandardError.ReadToEndAsync();
        string output = await fio.StandardOutput.ReadToEndAsync().WaitAsync(TimeSpan.FromMinutes(5)) + await error;
        await fio.WaitForExitAsync();
        TestContext.Current.TestOutputHelper?.WriteLine(output);
        Assert.True(fio.ExitCode == 0 && !output.Contains("verify:", StringComparison.Ordinal), output);
        Assert.Contains("err= 0", output, StringComparison.Ordinal);
    }

    /// <summary>Ends it at once, as a guest that loses power.</summary>
    public static async Task EndAsync(Process fio)
    {
        fio.Kill(entireProcessTree: true);
        await fio.WaitForExitAsync();
    }

    private static Process Start(ServedDisk served, long sizeBytes, params string[] more)
    {
        Process fio = Peer.Start(
            "fio",
            [
                "--name=guest", "--ioengine=nbd", $"--uri={served.Uri}", "--rw=randwrite", "--bs=4k", "--thread", "--eta=never",
                string.Create(CultureInfo.InvariantCulture, $"--size={sizeBytes}"), .. more,
            ]);
        fio.StandardInput.Close();
        return fio;
    }
}
