// SPDX-License-Identifier: MIT
using System.Diagnostics;

namespace Fleece.TestKit;

/// <summary>
/// A folder on an ext4 file system whose device is thinly provisioned: the file system has room, and the storage beneath it can run out.
/// Then the kernel fails to store what it has accepted, and says so to the next flush alone.
/// </summary>
/// <remarks>A loop device over a sparse file in a tmpfs. Needs Linux, root, loop devices and mkfs.ext4; <see cref="SkipReason"/> says
/// when those are missing.</remarks>
public sealed class StorageThatFills : IDisposable
{
    private const long DeviceBytes = 96 << 20;

    private readonly MountedFolder _storage = new("tmpfs", "size=64m");
    private readonly TempFolder _folder = new();
    private readonly string _device;
    private readonly string _filler;
    private readonly bool _staysWritable;
    private bool _isMounted;
    private Process? _thawing;

    /// <summary>Makes the file system.</summary>
    /// <param name="staysWritable">True to have files created and deleted there whatever could not be stored.</param>
    public StorageThatFills(bool staysWritable = false)
    {
        _staysWritable = staysWritable;
        _device = _storage.NewFile();
        _filler = _storage.NewFile();
        SkipReason = _storage.SkipReason;
        if (SkipReason is not null)
        {
            return;
        }

        if (!Peer.Has("mkfs.ext4"))
        {
            SkipReason = "mkfs.ext4 is not installed here.";
            return;
        }

        using (FileStream device = File.Create(_device))
        {
            device.SetLength(DeviceBytes);
        }

        // Everything but the data is written now, so that only data meets the full storage first.
        string[] journal = staysWritable ? ["-O", "^has_journal"] : ["-J", "size=4"];
        if (!Run("mkfs.ext4", ["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", .. journal, _device]) || !Mount())
        {
            SkipReason = "This system refuses to mount an ext4 over a loop device.";
        }
    }

    /// <summary>Why there is no such folder, or null when there is.</summary>
    public string? SkipReason { get; }

    /// <summary>Full path of the folder.</summary>
    public string Path => _folder.Path;

    /// <summary>Takes all the room that the storage has but for so many bytes.</summary>
    public void Fill(int exceptBytes)
    {
        using FileStream filler = new(_filler, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0);
        byte[] piece = new byte[64 * 1024];
        try
        {
            while (true)
            {
                filler.Write(piece);
            }
        }
        catch (IOException)
        {
            // The stream does not count a last piece that found some room. Loop devices take a write that finds some for a whole one.
            filler.SetLength(RandomAccess.GetLength(filler.SafeFileHandle) - exceptBytes);
        }
    }

    /// <summary>Has the system store what it has of the folder, as it does by itself in time, and forget what it could not of one file.
    /// </summary>
    public async Task WriteBackAsync(string path)
    {
        // Neither asks how it went for the file, so no process has been told.
        _ = await Peer.TryRunAsync("sync", "--file-system", _folder.Path);
        _ = await Peer.TryRunAsync("dd", "if=/dev/null", $"of={path}", "oflag=nocache", "conv=notrunc", "count=0");
    }

    /// <summary>Gives the room back, and the folder what the storage has, without anything that the system has in memory.</summary>
    public void Recover()
    {
        Unmount();
        File.Delete(_filler);
        if (!Mount())
        {
            throw new IOException("The file system can't be mounted again.");
        }
    }

    /// <summary>Has all changes of the file system wait, as on a device that hangs. It goes on after <see cref="Thaw"/>, and by itself
    /// after half a minute, so that a process whose threads all wait for it ends too.</summary>
    public void Freeze()
    {
        _thawing = Peer.Start("sh", "-c", "sleep 30; exec fsfreeze --unfreeze \"$0\"", _folder.Path);
        if (!Run("fsfreeze", "--freeze", _folder.Path))
        {
            throw new IOException("The file system can't be frozen.");
        }
    }

    /// <summary>Ends <see cref="Freeze"/>.</summary>
    public void Thaw()
    {
        _ = Run("fsfreeze", "--unfreeze", _folder.Path);
        _thawing?.Kill(entireProcessTree: true);
        _thawing?.Dispose();
        _thawing = null;
    }

    /// <summary>Unmounts everything.</summary>
    public void Dispose()
    {
        Unmount();
        _folder.Dispose();
        _storage.Dispose();
    }

    private bool Mount() => _isMounted = Run("mount", "-o", _staysWritable ? "loop,errors=continue" : "loop", _device, _folder.Path);

    private void Unmount()
    {
        if (_isMounted)
        {
            // Lazily only if it must: a test that failed may have left a file open.
            _ = Run("umount", _folder.Path) || Run("umount", "--lazy", _folder.Path);
            _isMounted = false;
        }
    }

    private static bool Run(string program, params string[] arguments)
    {
        using Process process = Peer.Start(program, arguments);
        process.StandardInput.Close();
        process.StandardError.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0;
    }
}
