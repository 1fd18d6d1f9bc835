// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using Fleece.Block.Files;
using Fleece.TestKit;
using Microsoft.Win32.SafeHandles;
using Xunit;

namespace Fleece.Block.Tests.Files;

/// <summary>Which bytes are locked, as the kernel lists them, and what errors say of the holder.</summary>
public sealed partial class ImageLocksTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public ImageLocksTests() => Assert.SkipUnless(OperatingSystem.IsLinux(), "These locks are those of Linux.");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_writer_locks_every_use_and_every_refusal()
    {
        using LocalFile file = LocalFile.Open(NewFile(), isReadOnly: false);

        Assert.Equal([100, 101, 102, 103, 200, 201, 202, 203], LockedBytes(file));
    }

    [Fact]
    public void A_new_file_is_locked_as_one_that_is_opened_for_writing()
    {
        using LocalFile file = LocalFile.Create(_folder.NewFile(), 4096);

        Assert.Equal([100, 101, 102, 103, 200, 201, 202, 203], LockedBytes(file));
    }

    [Fact]
    public void A_reader_locks_reading_and_refuses_writing_and_resizing()
    {
        using LocalFile file = LocalFile.Open(NewFile(), isReadOnly: true);

        Assert.Equal([100, 201, 203], LockedBytes(file));
    }

    [Fact]
    public void Locks_do_not_keep_the_holder_from_its_own_bytes()
    {
        using LocalFile file = LocalFile.Open(NewFile(), isReadOnly: false);
        file.Write(100, [1, 2, 3]);
        byte[] read = new byte[3];
        file.Read(100, read);

        Assert.Equal([1, 2, 3], read);
    }

    // A process that is being started has every open file twice for a moment; a duplicate stands for that here.
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_closed_file_is_free_although_a_child_process_still_has_it(bool isReadOnly)
    {
        string path = NewFile();
        LocalFile file = LocalFile.Open(path, isReadOnly);
        using SafeFileHandle duplicate = new(Duplicate(file.Handle), ownsHandle: true);
        Assert.False(duplicate.IsInvalid);

        file.Dispose();
        file.Dispose();

        LocalFile.Open(path, isReadOnly: false).Dispose();
    }

    [Fact]
    public void A_file_that_this_process_has_open_is_said_to_be_held_by_another_mount()
    {
        string path = NewFile();
        using LocalFile file = LocalFile.Open(path, isReadOnly: true);

        BlockException error = Refusals.Throws(BlockErrors.InUse, () => LocalFile.Open(path, isReadOnly: false));

        Assert.Equal($"Cannot open '{path}': another mount in this process holds it. Close that first.", error.Message);
    }

    [Fact]
    public void A_holder_is_found_by_another_name_of_the_file()
    {
        string path = NewFile();
        string link = _folder.NewFile();
        File.CreateSymbolicLink(link, path);
        using LocalFile file = LocalFile.Open(path, isReadOnly: false);

        Assert.Equal("another mount in this process", LockHolders.Find(link));
    }

    [Fact]
    public async Task A_program_that_holds_the_whole_file_is_named()
    {
        Peer.Need("flock");
        string path = NewFile();
        using Process holder = Peer.Start("flock", "--no-fork", path, "sh", "-c", "echo held; read line");
        Assert.Equal("held", await holder.StandardOutput.ReadLineAsync());

        BlockException error = Refusals.Throws(BlockErrors.InUse, () => LocalFile.Open(path, isReadOnly: false));

        holder.StandardInput.Close();
        await holder.WaitForExitAsync();
        Assert.Contains($"sh (process {holder.Id}) holds it", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Nobody_is_named_where_nobody_holds_the_file()
    {
        string path = NewFile();
        using FileStream open = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        PosixLocks.ReleaseFileLock(open.SafeFileHandle);

        Assert.Null(LockHolders.Find(path));
        Assert.Null(LockHolders.Find(_folder.File("absent")));
    }

    private string NewFile()
    {
        string path = _folder.NewFile();
        File.WriteAllBytes(path, new byte[4096]);
        return path;
    }

    // Neighbouring bytes of one holder stand in one line, "1: OFDLCK ADVISORY READ -1 fe:00:4711 100 103".
    private static int[] LockedBytes(LocalFile file)
    {
        string info = File.ReadAllText($"/proc/self/fdinfo/{file.Handle.DangerousGetHandle()}");
        List<int> bytes = [];
        foreach (Match match in ByteLockLine().Matches(info))
        {
            int first = int.Parse(match.Groups[1].ValueSpan, CultureInfo.InvariantCulture);
            int last = int.Parse(match.Groups[2].ValueSpan, CultureInfo.InvariantCulture);
            bytes.AddRange(Enumerable.Range(first, last - first + 1));
        }

        bytes.Sort();
        return [.. bytes];
    }

    [GeneratedRegex(@"OFDLCK\s+ADVISORY\s+READ\s+-1\s+\S+\s+(\d+)\s+(\d+)")]
    private static partial Regex ByteLockLine();

    [DllImport("libc", EntryPoint = "dup")]
    private static extern int Duplicate(SafeFileHandle handle);
}
