// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Fleece.Block.Files;

namespace Fleece.Hosting.Control;

/// <summary>Users and groups of a Linux system, as its name service knows them.</summary>
internal static unsafe partial class SystemUsers
{
    // sysconf(_SC_GETPW_R_SIZE_MAX) is a hint of 1 KiB; an entry with long strings needs more.
    private const int EntryBytes = 64 * 1024;
    private const int GroupEntryBytes = 1024 * 1024;

    /// <summary>The user that this process acts as.</summary>
    public static uint Current => PosixStat.UserId;

    /// <summary>The number of a user; null where the system has none of that name.</summary>
    public static uint? FindId(string name)
    {
        byte[] strings = new byte[EntryBytes];
        Entry entry = default;
        Entry* found = null;
        fixed (byte* buffer = strings)
        {
            return FindByName(name, &entry, buffer, EntryBytes, &found) == 0 && found is not null ? entry.UserId : null;
        }
    }

    /// <summary>The name of a user; the number where the system has no name for it.</summary>
    public static string NameOf(uint userId)
    {
        byte[] strings = new byte[EntryBytes];
        Entry entry = default;
        Entry* found = null;
        fixed (byte* buffer = strings)
        {
            return FindById(userId, &entry, buffer, EntryBytes, &found) == 0 && found is not null
                ? Marshal.PtrToStringUTF8((nint)entry.Name)!
                : userId.ToString(System.Globalization.CultureInfo.InvariantCulture);
        }
    }

    /// <summary>The name of a group; the number where the system has no name for it.</summary>
    public static string NameOfGroup(uint groupId)
    {
        // A group lists its members, who may be many.
        byte[] strings = new byte[GroupEntryBytes];
        LibC.GroupEntry entry = default;
        LibC.GroupEntry* found = null;
        fixed (byte* buffer = strings)
        {
            return FindGroupById(groupId, &entry, buffer, GroupEntryBytes, &found) == 0 && found is not null
                ? Marshal.PtrToStringUTF8(entry.Name)!
                : groupId.ToString(System.Globalization.CultureInfo.InvariantCulture);
        }
    }

    [LibraryImport("libc", EntryPoint = "getpwnam_r", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int FindByName(string name, Entry* entry, byte* buffer, nuint bufferBytes, Entry** found);

    [LibraryImport("libc", EntryPoint = "getpwuid_r")]
    private static partial int FindById(uint userId, Entry* entry, byte* buffer, nuint bufferBytes, Entry** found);

    [LibraryImport("libc", EntryPoint = "getgrgid_r")]
    private static partial int FindGroupById(
        uint groupId, LibC.GroupEntry* entry, byte* buffer, nuint bufferBytes, LibC.GroupEntry** found);

    // struct passwd of glibc and musl on Linux, <pwd.h>.
    [StructLayout(LayoutKind.Sequential)]
    private struct Entry
    {
        public byte* Name;
        public byte* Password;
        public uint UserId;
        public uint GroupId;
        public byte* Description;
        public byte* Home;
        public byte* Shell;
    }
}
