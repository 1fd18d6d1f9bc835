// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using Fleece.Block.Files;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.Systemd;

/// <summary>A real systemd as process 1 of namespaces of its own, which knows the units of one folder.</summary>
/// <remarks>Skips the test, with what systemd said, where the system does not let one be made.</remarks>
internal sealed class PrivateSystemd : IAsyncDisposable
{
    private const string Program = "/lib/systemd/systemd";
    private const int Attempts = 200;

    // The namespaces have a file system of control groups whose root is the group that the shell is in, so systemd sees no other group.
    private const string Boot = """
        mount --make-rprivate / && umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup &&
        mount -t tmpfs -o mode=755 none /run && mkdir /run/lock &&
        mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && eval "$2" &&
        exec env -i container=test PATH="$PATH" SYSTEMD_UNIT_PATH="$1:/etc/systemd/system" \
        /lib/systemd/systemd --system --unit=test.target --log-target=console
        """;

    private readonly Process _process;
    private readonly string _group;
    private string _first = string.Empty;

    private PrivateSystemd(Process process, string group)
    {
        _process = process;
        _group = group;
    }

    /// <summary>Starts a systemd with the units of the folder, and of its /etc/systemd/system; it is up when this returns.</summary>
    /// <param name="units">The folder of units.</param>
    /// <param name="prepare">A command of the shell that changes the mounts of the namespaces before systemd starts.</param>
    public static async Task<PrivateSystemd> StartAsync(TempFolder units, string prepare = "mount -t tmpfs none /etc/systemd/system")
    {
        Peer.Need("unshare", "nsenter", "systemctl");
        Assert.SkipUnless(PosixStat.UserId == 0 && File.Exists(Program), "needs root and systemd's program");
        foreach (string target in (string[])["test", "basic", "sysinit", "shutdown", "multi-user"])
        {
            await File.WriteAllTextAsync(units.File($"{target}.target"), "[Unit]\nDefaultDependencies=no\n");
        }

        string hierarchy = Directory.Exists("/sys/fs/cgroup/unified") ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup";
        string group = Path.Combine(hierarchy, Path.GetFileName(units.Path));
        try
        {
            Directory.CreateDirectory(group);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Assert.Skip($"no control group can be made here: {e.Message}");
        }

        Process process = Peer.Start(
            "sh",
            "-c",
            $"echo $$ >'{group}/cgroup.procs' && exec unshare --kill-child -p -f -m -C -n -u -i --mount-proc sh -c \"$0\" sh \"$1\" \"$2\"",
            Boot,
            units.Path,
            prepare);
        PrivateSystemd systemd = new(process, group);
        string said = await systemd.WaitUntilUpAsync();
        if (said != "running")
        {
            process.Kill();
            string log = await process.StandardError.ReadToEndAsync();
            await systemd.DisposeAsync();
            Assert.Skip($"no systemd can be started in namespaces here: {said} {log}");
        }

        return systemd;
    }

    /// <summary>Runs systemctl and fails the test when it fails.</summary>
    public async Task<string> ControlAsync(params string[] arguments) => await RunAsync(["systemctl", .. arguments]);

    /// <summary>Runs systemctl, however it ends.</summary>
    public async Task<PeerResult> TryControlAsync(params string[] arguments) =>
        await Peer.TryRunAsync("nsenter", Inside(["systemctl", .. arguments]));

    /// <summary>Runs a program in the namespaces and fails the test when it fails.</summary>
    public async Task<string> RunAsync(params string[] command) => await Peer.RunAsync("nsenter", Inside(command));

    /// <summary>Starts a program in the namespaces that the test talks to.</summary>
    public Process Start(params string[] command) => Peer.Start("nsenter", Inside(command));

    /// <summary>The main process of a service, by its number in the namespaces.</summary>
    public async Task<string> FindProcessAsync(string service) =>
        (await ControlAsync("show", "--property=MainPID", "--value", service)).Trim();

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
        }

        await _process.WaitForExitAsync();
        _process.Dispose();

        // The kernel ends the processes of the namespaces with their first; the last of them may not have left its group yet.
        for (int attempt = 0; attempt < Attempts && !TryRemoveGroups(); attempt++)
        {
            await Task.Delay(50);
        }
    }

    private string[] Inside(string[] command) => ["-t", _first, "-m", "-p", "-n", "-u", "-i", "-C", .. command];

    private async Task<string> WaitUntilUpAsync()
    {
        string children = string.Create(CultureInfo.InvariantCulture, $"/proc/{_process.Id}/task/{_process.Id}/children");
        string said = "it never came up";
        for (int attempt = 0; attempt < Attempts && !_process.HasExited; attempt++)
        {
            _first = File.Exists(children) ? (await File.ReadAllTextAsync(children)).Trim() : string.Empty;
            if (_first.Length != 0)
            {
                said = (await TryControlAsync("is-system-running")).Output.Trim();
                if (said == "running")
                {
                    break;
                }
            }

            await Task.Delay(50);
        }

        return said;
    }

    private bool TryRemoveGroups()
    {
        try
        {
            foreach (string folder in Directory.GetDirectories(_group, "*", SearchOption.AllDirectories).OrderByDescending(path => path.Length))
            {
                Directory.Delete(folder);
            }

            Directory.Delete(_group);
            return true;
        }
        catch (DirectoryNotFoundException)
        {
            return true;
        }
        catch (IOException)
        {
            return false;
        }
    }
}
